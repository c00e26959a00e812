"""The page Start, as it stands, on a PBX host: its commands lead from the package to a call."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.host.pbx_host import PbxHost
from tests.host.test_package import DROP_IN, DROP_INS, PACKAGE
from tests.pages import blocks
from tests.pbx.sip_scenario import Behaviour

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]

PAGE: Final = "docs/start.md"

#: What differs from call to call: ids, times, and which channel it was (AMI tells that, and FastAGI
#: may be quicker).
_VARIES: Final = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d\d:\d\d:\d\d\.\d{3}|: PJSIP/.*|\d+\.\d+"
)


@pytest.fixture(scope="module")
def host() -> Iterator[PbxHost]:
    """A host with an Asterisk and two phones, and the package as a file."""
    with PbxHost() as running:
        running.put(PACKAGE, Path(os.environ["C2C_DEB"]).read_bytes())
        running.phone("100", Behaviour(ring_seconds=0.5))
        running.phone("200", Behaviour(ring_seconds=0.5, talk_seconds=1))
        running.write(f"{DROP_INS}/container.conf", DROP_IN)
        yield running


def test_page(host: PbxHost) -> None:
    """Every command works; the last one places a call, and shows what the page says it shows."""
    commands = [block.text for block in blocks(PAGE) if block.language == "sh"]
    told = {command.strip(): host.run(f"cd /root\n{command}") for command in commands}
    assert list(told)[-1] == "c2c-agent call 100 200 --wait"
    assert "The first key" in told[next(command for command in told if " setup " in command)]
    assert {line.partition(" ")[0] for line in told["c2c-agent check"].splitlines()} == {"ok"}
    [shown] = [block.text for block in blocks(PAGE) if block.language == "text"]
    assert shape(told[list(told)[-1]]) == shape(shown)


def shape(text: str) -> list[str]:
    """The lines of what a call printed, without what differs from call to call."""
    return [_VARIES.sub("", line) for line in text.splitlines()]
