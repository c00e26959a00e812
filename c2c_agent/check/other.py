"""The check of a PBX over HTTP: its section is understood, and it answers what may be asked."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

from c2c_agent.check.finding import Finding
from c2c_agent.config.files import read_secret
from c2c_agent.config.pbx import OtherSection
from c2c_agent.errors import ConfigError
from c2c_agent.net.fresh_request import Send
from c2c_agent.pbx.other.client import Client, UnansweredError, UnsentError
from c2c_agent.pbx.other.connection import requests_of
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.reading import read


async def finding(section: OtherSection, reactor: Any, send: Send | None = None) -> Finding:
    """Log in, and ask what the section has as `check`; nobody is rung. `send`: how."""
    try:
        program = read(section.value, section.where, section.files)
        secrets = {name: read_secret(file) for name, file in program.secret_files.items()}
        client = Client(
            program,
            send or requests_of(program, reactor),
            secrets=secrets,
            seconds=reactor.seconds,
            wall=time.time,
            new_word=lambda: uuid.uuid4().hex,
        )
    except ConfigError as error:
        return Finding("PBX other", str(error), "Correct this, and check again.")
    if program.check is None and program.login is None:
        advice = (
            "Configure other.check: a harmless request by which the agent sees that it is there."
        )
        message = f"{program.base_url} was not asked: there is neither check nor login."
        return Finding("PBX other", message, advice, warning=True)
    try:
        await client.check()
    except (UnsentError, UnansweredError) as error:
        advice = "See that it runs, that its address and certificate are right, and the login."
        return Finding("PBX other", f"{program.base_url}: {error}", advice)
    return Finding("PBX other", f"{program.base_url} {_what(program)}")


def _what(program: Program) -> str:
    parts = {"let us log in": program.login, "answered the check": program.check}
    return " and ".join(words for words, there in parts.items() if there is not None)


def secret_files(section: OtherSection) -> Iterator[str]:
    """The files with its secrets, where the section can be understood."""
    try:
        yield from read(section.value, section.where, section.files).secret_files.values()
    except ConfigError:
        return  # told elsewhere
