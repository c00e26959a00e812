"""`c2c-agent probe switchvox`, as its user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.certificates import Authority
from tests.fake_switchvox import Story
from tests.switchvox.server import Running

Start = Callable[..., Running]


@pytest.fixture
def running(switchvox: Start) -> Running:
    """A double over TLS."""
    return switchvox()


@pytest.fixture
def config(running: Running, authority: Authority, tmp_path: Path) -> Path:
    """A configuration for it."""
    password = tmp_path / "switchvox.password"
    password.write_text(running.fake.password + "\n", encoding="utf-8")
    file = tmp_path / "c2c-agent.yml"
    section = {
        "url": running.url,
        "username": running.fake.username,
        "password_file": str(password),
        "tls": {"ca_file": str(authority.file)},
    }
    file.write_text(yaml.safe_dump({"asterisk": False, "switchvox": section}), encoding="utf-8")
    return file


def probe(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it."""
    command = [sys.executable, "-m", "c2c_agent", "--config", str(config), "probe", "switchvox"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_call(running: Running, config: Path) -> None:
    """It asks, and places nothing."""
    done = probe(config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "login: taken, with Digest without qop" in done.stdout
    assert running.fake.version in done.stdout
    assert running.fake.placed == []


def test_of_a_wrong_password(running: Running, config: Path) -> None:
    """It is tried once, and the report says how it was refused."""
    done = probe(config, "--wrong-password")
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrong password: HTTP 403" in done.stdout
    assert running.fake.wrong_credentials == 1


def test_of_several(running: Running, config: Path) -> None:
    """One is asked by its name; without it, it is said which there are."""
    document = yaml.safe_load(config.read_text(encoding="utf-8"))
    own, far = {"switchvox": document["switchvox"]}, {"switchvox": {**document["switchvox"]}}
    far["switchvox"]["url"] = "https://127.0.0.1:1"
    config.write_text(yaml.safe_dump({"pbxs": {"hotel": own, "motel": far}}), encoding="utf-8")
    done = probe(config, "--pbx", "hotel")
    assert (done.returncode, done.stderr) == (0, "")
    assert running.fake.version in done.stdout
    vague = probe(config)
    assert vague.returncode == 1
    assert "no switchvox PBX; known are hotel, motel." in vague.stderr


def test_with_a_call(running: Running, config: Path) -> None:
    """It places one, and masks its numbers."""
    running.fake.stories = {"104": Story(0.7), "5554578299": Story(0.7, talks=1.0)}
    done = probe(config, "--call", "104", "5554578299")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the order is answered" in done.stdout
    assert "talking" in done.stdout
    assert "4578299" not in done.stdout
    assert len(running.fake.placed) == 1


def test_a_number_as_it_is_given(running: Running, config: Path) -> None:
    """A leading + is sent only where that is asked for."""
    running.fake.stories = {"104": Story(0.5), "+5554578299": Story(0.5, talks=1.0)}
    done = probe(config, "--call", "104", "+5554578299", "--as-given")
    assert (done.returncode, done.stderr) == (0, "")
    assert "+SECOND" in done.stdout
    assert running.fake.written[0]["dial_second"] == "+5554578299"
    vague = probe(config, "--as-given")
    assert (vague.returncode, vague.stderr.endswith("--as-given needs --call.\n")) == (2, True)


def test_no_login(running: Running, config: Path) -> None:
    """It says why, and that it has not done what it was told."""
    running.fake.password = "another"
    done = probe(config, "--call", "104", "5554578299")
    assert done.returncode == 1
    assert "refuses the agent's login" in done.stdout
    assert running.fake.placed == []


def test_a_call_that_is_hung_up(running: Running, config: Path) -> None:
    """It says what the PBX answers to that, and what its order is answered then."""
    running.fake.stories = {"104": Story(None)}
    done = probe(config, "--call", "104", "5554578299", "--hang-up")
    assert (done.returncode, done.stderr) == (0, "")
    assert "switchvox.currentCalls.hangUp: " in done.stdout
    assert '"code": "41591"' in done.stdout
    assert len(running.fake.hung_up) == 1
    vague = probe(config, "--hang-up")
    assert (vague.returncode, vague.stderr.endswith("--hang-up needs --call.\n")) == (2, True)
