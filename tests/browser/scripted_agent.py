"""A whole agent with a scripted PBX in the place of Asterisk, to open its pages in a browser.

`python -m tests.browser.scripted_agent CONFIG` runs it. What a phone does stands in its number: see
`ScriptedPbx`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Collection
from typing import Any

from twisted.internet import reactor as global_reactor

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginateRefused,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.config.files import load
from c2c_agent.pbx.driver import PbxObserver, PlacedCall
from c2c_agent.service.agent import AgentService

#: Seconds between two things that happen to a call.
_STEP = 0.4

_BUSY = LegEvidence(status="BUSY", cause=17, cause_text="User busy", sip=486)
_SILENT = LegEvidence(status="NOANSWER", cause=19, cause_text="No answer from the user")


class ScriptedPbx:
    """A PBX whose phones do what their numbers say.

    404: the PBX refuses the order. 109, 209: busy. 208: rings until it is hung up. 207: the
    PBX does not tell how its calls end. All others answer, and talk until somebody hangs up by the
    API.
    """

    method = "asterisk.call"
    observer: PbxObserver

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.originated: list[str] = []
        self._calls: dict[str, tuple[str, str, bool]] = {}

    def unready(self) -> str | None:
        return None

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        self._calls[request_id] = (job.dial_first, job.dial_second, False)
        data = {
            "Action": "Originate",
            "ChannelId": f"c2c-{request_id}",
            "Channel": f"Local/{job.dial_first}@c2c-first/n",
            "Context": "c2c-bridge",
        }
        return OriginatePlan(data=data, target="scripted", timeout=job.timeout, order="scripted")

    def originate(self, request_id: str, _plan: OriginatePlan) -> None:
        self.originated.append(request_id)
        first, second, _ = self._calls[request_id]
        if second == "404":
            self._later(0.1, request_id, OriginateRefused("Extension does not exist."))
            return
        accepted = OriginateAccepted(
            {"Response": "Success", "Message": "Originate successfully queued"}
        )
        self._later(0.05, request_id, accepted)
        self._later(_STEP, request_id, FirstRinging(f"PJSIP/{first}-00000001"))
        if first == "109":
            self._later(3 * _STEP, request_id, Gone(CallEvidence(first=_BUSY)))
            return
        self._later(3 * _STEP, request_id, FirstAnswered(f"PJSIP/{first}-00000001"))
        self._later(3.2 * _STEP, request_id, SecondDialed(30.0))
        if second == "209":
            gone = Gone(CallEvidence(first=LegEvidence(cause=16), second=_BUSY, dialed=True))
            self._later(5 * _STEP, request_id, gone)
            return
        if second == "207":
            self._later(
                5 * _STEP, request_id, Gone(CallEvidence(dialed=True, lost=True, not_told=True))
            )
            return
        self._later(5 * _STEP, request_id, SecondRinging(f"PJSIP/{second}-00000002"))
        if second != "208":
            self._later(9 * _STEP, request_id, SecondAnswered(f"PJSIP/{second}-00000002"))

    def hang_up(self, request_id: str) -> None:
        first, second, ended = self._calls.get(request_id, ("", "", True))
        if not ended:
            self._calls[request_id] = (first, second, True)
            evidence = CallEvidence(
                first=LegEvidence(cause=16, cause_text="Normal Clearing"),
                second=_SILENT if second == "208" else LegEvidence(cause=16),
                hung_up_by=Leg.FIRST if second != "208" else None,
                dialed=True,
            )
            self._clock.callLater(0.1, self.observer.leg_event, request_id, Gone(evidence))

    def cannot_hang_up(self, _request_id: str | None = None) -> str | None:
        return None

    def hang_up_foreign(self, call: PlacedCall) -> None:
        self.hang_up(call.request_id)

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Know nothing of a time before."""

    def settle(self, request_ids: Collection[str]) -> None:
        for request_id in request_ids:
            self.observer.leg_event(request_id, Gone(CallEvidence(lost=True)))

    def _later(self, seconds: float, request_id: str, event: LegEvent) -> None:
        def tell() -> None:
            if not self._calls[request_id][2]:
                self.observer.leg_event(request_id, event)

        self._clock.callLater(seconds, tell)


def main(path: str) -> None:
    """Run it, until it is ended by a signal."""
    reactor: Any = global_reactor
    service = AgentService(load(path), reactor)
    parts = service.parts
    pbx = ScriptedPbx(reactor)
    pbx.observer = parts.dispatcher
    parts.pbxs.drivers["asterisk"] = pbx
    ways = [*parts.pbxs.services()]
    parts.services = [part for part in parts.services if part not in ways]
    parts.pbxs.asterisks.clear()
    parts.pbxs.fastagi.clear()
    parts.health._untried.clear()
    service.startService()
    parts.dispatcher.pbx_up()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    signal.signal(
        signal.SIGHUP, lambda *_: reactor.callFromThread(lambda: service.change(load(path)))
    )
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
