"""`c2c-agent setup asterisk`: from an Asterisk that knows no agent to the first call."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import AsteriskHost, beside
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import Behaviour

QUICK = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)

OURS = re.compile(r"^#include .c2c-(first|bridge)\.conf.\n", re.MULTILINE)


@pytest.fixture
def bare(asterisk: AsteriskHost) -> AsteriskHost:
    """An Asterisk of the same version, on which nothing of the agent was ever set up."""
    host = AsteriskHost(asterisk.version, beside(asterisk.address, 100))
    host.files = {
        name: OURS.sub("", text) for name, text in host.files.items() if "c2c-" not in name
    }
    return host


@pytest.fixture
def _phones(bare: AsteriskHost, tmp_path: Path) -> Iterator[None]:
    """Two phones of that Asterisk."""
    started = []
    for number, behaviour in (("100", QUICK), ("200", TALKS)):
        own = tmp_path / number
        own.mkdir()
        address = (bare.phones_address, bare.phone_port(number))
        started.append(Phone(number, *address, behaviour, own))
        started[-1].start()
    yield
    for one in started:
        one.stop()


def files_of(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its path in it."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


def setup(*arguments: str) -> str:
    """Run the command; what it prints."""
    command = [sys.executable, "-m", "c2c_agent", "setup", "asterisk", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def own_places(agent: AgentProcess) -> dict[str, Any]:
    """What an agent under test has elsewhere than one on a PBX host of its own."""
    configured = yaml.safe_load(agent.config.read_text(encoding="utf-8"))
    return {
        "store": configured["store"],
        "http": configured["http"],
        "asterisk": {
            "ami": {"host": agent.host.address},
            "agi": configured["asterisk"]["agi"],
        },
    }


@pytest.mark.usefixtures("_phones")
@pytest.mark.parametrize("ami", ["yes", "no"])
def test_from_nothing_to_a_call(bare: AsteriskHost, tmp_path: Path, ami: str) -> None:
    """Set up, checked, called, and taken back to the byte; also where AMI was off."""
    manager = bare.files["manager.conf"]
    bare.files["manager.conf"] = manager.replace("\nenabled = yes", f"\nenabled = {ami}")
    folder = tmp_path / "asterisk"
    for name, text in bare.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "manager.d").mkdir()
    config = tmp_path / "etc" / "c2c-agent.yml"
    where = ("--asterisk-dir", str(folder), "--config", str(config))

    printed = setup(*where, "--allow", "_XXX")
    assert "Nothing has to change." in setup(*where, "--allow", "_XXX")
    key = re.search(r"^ +(c2c_\S+)$", printed, re.MULTILINE)
    assert key is not None

    before, bare.files = bare.files, files_of(folder)
    (tmp_path / "agent").mkdir()
    agent = AgentProcess(bare, tmp_path / "agent", key=key[1])
    (config.parent / "conf.d").mkdir()
    places = yaml.safe_dump(own_places(agent))
    (config.parent / "conf.d" / "test.yml").write_text(places, encoding="utf-8")
    agent.config = config
    with bare, agent:
        checked = agent.run("check")
        assert checked.returncode == 0, checked.stdout
        call = agent.ended(agent.call("100", "200"))
        assert call["outcome"] == "connected"

    setup("--config", str(config), "--undo")
    assert files_of(folder) == before
