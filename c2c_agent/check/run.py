"""All checks in order: the configuration, then the whole way round through the PBX."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import AmiError
from c2c_agent.check import configuration, exposure, other, switchvox
from c2c_agent.check import outside as beside
from c2c_agent.check.finding import CheckFailed, Finding
from c2c_agent.check.outside import Outside
from c2c_agent.check.way_round import WayRound
from c2c_agent.config.pbx import AsteriskConfig, PbxConfig
from c2c_agent.config.sections import Config
from c2c_agent.pbx.asterisk.bridge import agi_url


def sockets() -> list[str]:
    """The kernel's tables of sockets, as far as it has them."""
    tables = (Path("/proc/net", name) for name in ("tcp", "tcp6"))
    return [table.read_text(encoding="ascii") for table in tables if table.exists()]


#: Looks that wait for files and for the store.
Looks: TypeAlias = Callable[[], Sequence[Finding]]


@frozen
class Within:
    """How an agent that runs checks itself: it places no test call, for it may be busy.

    `links` are its own to Asterisks, by the names of these. `aside` takes looks that wait for files
    and for the store, so that no call waits for them.
    """

    links: Mapping[str, AmiLink]
    aside: Callable[[Looks], Awaitable[Sequence[Finding]]]


async def run(
    config: Config,
    reactor: Any,
    build: Callable[[Config], object],
    outside: Outside,
    within: Within | None = None,
) -> AsyncIterator[Finding]:
    """Check everything, one finding after the other, until one makes the rest senseless.

    `build` makes the parts of an agent, and raises C2CError where that cannot be: what is wrong
    with the configuration and was not found by then is the last finding. `within` None: it is a
    program of its own that checks.
    """
    told = []
    async with aclosing(_checks(config, reactor, outside, within)) as findings:
        async for finding in findings:
            told.append(finding)
            yield finding
    wrong = configuration.not_buildable(config, build)
    if wrong is not None and not any(_tells(finding, wrong) for finding in told):
        yield wrong


def _tells(finding: Finding, wrong: Finding) -> bool:
    """Whether a finding has said already what is wrong, with better advice."""
    return finding.failed and bool(finding.message) and finding.message in wrong.message


async def _checks(
    config: Config, reactor: Any, outside: Outside, within: Within | None
) -> AsyncGenerator[Finding, None]:
    def look() -> Sequence[Finding]:
        return list(configuration.findings(config))

    for finding in look() if within is None else await within.aside(look):
        yield finding
    for finding in await beside.findings(config, outside, reactor):
        yield finding
    for name, pbx in config.every_pbx.items():
        link = None if within is None else within.links.get(name)
        way = None if pbx.asterisk is None else WayRound(pbx.asterisk, config.keys, reactor, link)
        async with aclosing(_of_pbx(pbx, way, reactor, outside, within)) as found:
            async for finding in found:
                yield finding if name == pbx.kind else finding.on(name)


async def _of_pbx(
    pbx: PbxConfig, way: WayRound | None, reactor: Any, outside: Outside, within: Within | None
) -> AsyncGenerator[Finding, None]:
    if pbx.other is not None:
        yield await other.finding(pbx.other, reactor)
    if pbx.switchvox is not None:
        async for finding in switchvox.findings(pbx.switchvox, reactor):
            yield finding
    if pbx.asterisk is not None and way is not None:
        async with aclosing(_around(way, pbx.asterisk, outside, within)) as around:
            async for finding in around:
                yield finding


async def _around(
    way: WayRound, asterisk: AsteriskConfig, outside: Outside, within: Within | None
) -> AsyncGenerator[Finding, None]:
    """The way of a call through an Asterisk, as far as it can be gone."""
    try:
        yield await way.log_in()
        yield await way.rights()
        for finding in await way.exposures():
            yield finding
        for context in [*way.contexts(), *await way.contexts_of_endpoints()]:
            yield await way.context(context)
        for finding in await way.answering():
            yield finding
        if within is None:
            for finding in await _test_call(way, asterisk, outside):
                yield finding
        url = agi_url(asterisk.agi)
        for finding in exposure.open_listeners(asterisk.ami, url, outside.sockets()):
            yield finding
    except CheckFailed as failed:
        yield failed.finding
    except AmiError as error:
        yield Finding("AMI", str(error), "See the log of Asterisk, and check again.")
    finally:
        await way.close()


async def _test_call(way: WayRound, asterisk: AsteriskConfig, outside: Outside) -> list[Finding]:
    """What a call that rings nobody shows."""
    await way.probe()
    found = [await way.come_round(outside.running, outside.sockets())]
    if way.hears_foreign_calls:
        found.append(exposure.of_no_filter(asterisk.ami))
    if not way.hears_times and (late := exposure.of_no_times(asterisk.ami)):
        found.append(late)
    return found
