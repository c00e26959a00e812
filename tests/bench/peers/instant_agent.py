"""The agent with a PBX driver that answers at once: what the way in takes, alone.

    python -m tests.bench.peers.instant_agent run --config FILE

Everything else is as in `c2c-agent run`, the store with its commits among it. Each order is
accepted, and its call is over, in the same turn of the event loop.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import Gone, LegEvent, OriginateAccepted
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.config import files as configfile
from c2c_agent.host import log
from c2c_agent.pbx.driver import PbxObserver, PlacedCall
from c2c_agent.service.agent import AgentService


class InstantDriver:
    """A PBX on which every call connects, and is over, when it is ordered."""

    method = "asterisk.call"

    def __init__(self, observer: PbxObserver, reactor: Any) -> None:
        self.observer = observer
        self._reactor = reactor

    def unready(self) -> str | None:
        """Never."""
        return None

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """What an Originate is about as large as."""
        data = {"Action": "Originate", "ActionID": request_id, "Channel": job.dial_first}
        return OriginatePlan(data=data, target=job.dial_second, timeout=job.timeout)

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Accept, and end."""
        events: list[LegEvent] = [
            OriginateAccepted({"Response": "Success", "Message": plan.target}),
            Gone(CallEvidence(first=_ANSWERED, second=_ANSWERED, dialed=True)),
        ]
        for event in events:
            self._reactor.callLater(0, self.observer.leg_event, request_id, event)

    def cannot_hang_up(self, _request_id: str | None = None) -> str | None:
        """Nothing is there."""
        return None

    def hang_up(self, request_id: str) -> None:
        """Nothing is there."""

    def hang_up_foreign(self, call: PlacedCall) -> None:
        """Nothing is there."""

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Nothing is there."""

    def settle(self, request_ids: Collection[str]) -> None:
        """Nothing is there."""


_ANSWERED = LegEvidence(status="ANSWER", answered_at=1.0, ended_at=2.0, cause=16)


def main() -> None:
    """Run it in the foreground."""
    config = configfile.load(sys.argv[-1])
    from twisted.internet import reactor  # noqa: PLC0415

    process: Any = reactor
    log.start(config.log.level, full_numbers=False)
    service = AgentService(config, process)
    service.parts.pbxs.drivers["asterisk"] = InstantDriver(service.parts.dispatcher, process)
    service.startService()
    process.addSystemEventTrigger("before", "shutdown", service.stopService)
    process.run()


if __name__ == "__main__":
    main()
