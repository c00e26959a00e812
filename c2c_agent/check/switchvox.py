"""What a Switchvox lets the agent do: the login, its rights, and how far the clocks are apart.

Everything is asked, and nothing is placed or changed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, NamedTuple

from c2c_agent.check.finding import Finding
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.errors import ConfigError
from c2c_agent.pbx.switchvox.client import (
    CredentialsRefusedError,
    ExtendClient,
    ExtendError,
    NoExtendApiError,
)
from c2c_agent.pbx.switchvox.extend_api import (
    NOT_PERMITTED,
    Failure,
    Result,
    pbx_time,
    text_of,
)
from c2c_agent.pbx.switchvox.login import extend_client


class _Right(NamedTuple):
    """What the agent asks besides, what it is for, and the setting that does without."""

    method: str
    parameters: Mapping[str, object]
    purpose: str
    setting: str | None = None


#: All that it asks, and without any side effect.
_RIGHTS: Final = (
    _Right("switchvox.extensions.getInfo", {"extensions": ["0"]}, "find the account of dial_as"),
    _Right("switchvox.currentCalls.getList", {}, "see whether a call goes on", "follow"),
    _Right(
        "switchvox.callLogs.search",
        {
            "start_date": "2000-01-01 00:00:00",
            "end_date": "2000-01-01 00:00:01",
            "account_ids": ["1"],
            "items_per_page": "1",
        },
        "see afterwards who talked",
        "call_logs",
    ),
)

#: Time zones are whole quarters of an hour away from UTC.
_ZONE: Final = 900

#: Seconds that clocks may be apart without anybody being told.
_APART: Final = 5.0


async def findings(config: SwitchvoxConfig, reactor: Any) -> AsyncIterator[Finding]:
    """All that is found, until something makes the rest senseless."""
    try:
        client = extend_client(config, reactor)
    except ConfigError as error:
        yield Finding("switchvox", str(error), "Correct this, and check again.")
        return
    async for finding in of_client(client, config):
        yield finding


async def of_client(
    client: ExtendClient, config: SwitchvoxConfig, wall: Callable[[], float] = time.time
) -> AsyncIterator[Finding]:
    """What is found by asking with this client; `wall` is the host's clock."""
    login = await _log_in(client, config)
    yield login
    if login.failed:
        return
    if config.login == "extension":
        message = "logged in as an extension: calls are placed, but neither followed nor cancelled."
        advice = "Give the agent an admin account of its own with few rights, if that matters."
        yield Finding("switchvox rights", message, advice, warning=True)
        return
    async for finding in _rights(client, config):
        yield finding
    yield await _clock(client, wall)


async def _log_in(client: ExtendClient, config: SwitchvoxConfig) -> Finding:
    try:
        proof = await client.prove()
    except CredentialsRefusedError as error:
        advice = (
            f"See that {config.password_file} holds the password of {config.username}, and that "
            "the PBX lets this host's network use the Admin API (Setup, Access Control)."
        )
        return Finding("switchvox", f"{error}.", advice)
    except NoExtendApiError as error:
        return Finding("switchvox", f"{error}.", f"See that switchvox.url ({config.url}) is right.")
    except ExtendError as error:
        advice = (
            f"See that {config.host}:{config.port} can be reached, and that switchvox.tls names "
            "the PBX's own authority (ca_file), its name (server_name) or its certificate (sha256)."
        )
        return Finding("switchvox", f"{error}.", advice)
    if isinstance(proof, Failure):
        advice = "Let the account see the system's information, if its version is to be shown."
        message = f"logged in as {config.username}; the PBX says: {proof.text}"
        return Finding("switchvox", message, advice, warning=True)
    software = proof.tree.get("info")
    version = text_of(software, "software", "version") or "unknown"
    edition = text_of(software, "software", "edition") or "unknown"
    message = f"logged in as {config.username}; version {version}, edition {edition}"
    return Finding("switchvox", message)


async def _rights(client: ExtendClient, config: SwitchvoxConfig) -> AsyncIterator[Finding]:
    needed = [right for right in _RIGHTS if right.setting is None or getattr(config, right.setting)]
    missing, settings = [], []
    for right in needed:
        why = await _why_not(client, right)
        if why is not None:
            missing.append(f"{right.method}, to {right.purpose}: {why}")
            settings += [] if right.setting is None else [right.setting]
    if missing:
        without = f", or set {' and '.join(settings)} to false" if settings else ""
        advice = f"Give the agent's admin account these rights{without}."
        yield Finding("switchvox rights", "; ".join(missing), advice)
    else:
        # To place a call is the one right that nothing harmless tells of.
        may = ", ".join(right.purpose for right in needed)
        yield Finding("switchvox rights", f"may {may}")


async def _why_not(client: ExtendClient, right: _Right) -> str | None:
    """Why the login may not do it; None: it may."""
    try:
        answer = await client.ask(right.method, right.parameters)
    except ExtendError as error:
        return str(error)
    if isinstance(answer, Failure) and answer.codes & NOT_PERMITTED:
        return answer.text
    return None


async def _clock(client: ExtendClient, wall: Callable[[], float]) -> Finding:
    advice = "Calls are then found by what was there before alone, and not in the log."
    try:
        answer = await client.ask("switchvox.systemClock.getInfo", {})
    except ExtendError as error:
        return Finding("switchvox clock", f"not known: {error}.", advice, warning=True)
    told = None
    if isinstance(answer, Result):
        told = pbx_time(text_of(answer.tree, "system", "current_time"))
    if told is None:
        words = (
            answer.text if isinstance(answer, Failure) else "it is in another form than is known."
        )
        return Finding("switchvox clock", f"not known: {words}", advice, warning=True)
    ahead = told - wall()
    zone = round(ahead / _ZONE) * _ZONE
    apart = ahead - zone
    shown = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this host's"
    message = f"{shown}, in a time zone {zone / 3600:+g} h from UTC"
    if abs(apart) <= _APART:
        return Finding("switchvox clock", message)
    return Finding("switchvox clock", message, "Let both keep their time by NTP.", warning=True)
