"""Judges what became of requests while everything around them was killed.

The truth is what the witness saw on the PBX, and for how long the second's phone talked; held
against it is what the agent says, what the receiver of webhooks was told, and what was left behind.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.error import URLError

from attrs import define, field

from tests.pbx.lateness import late_between
from tests.pbx.linkedid import linkedid_of
from tests.pbx.waiting import WaitedInVainError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.pbx.agents import AgentProcess
    from tests.pbx.phones import Phone
    from tests.pbx.receiver import WebhookReceiver
    from tests.pbx.sip_trace import PhoneCall
    from tests.pbx.witness import CallSeen, Witness

FINAL: Final = frozenset({"call.ended", "call.rejected"})

#: Seconds until a report has come for certain: two attempts at it may fail in a crowd, and then
#: the third comes 5 minutes later (`webhook.SCHEDULE`).
REPORTED: Final = 400.0

#: Seconds by which the agent's talk time may differ from the phone's on a busy machine.
TALK_TOLERANCE: Final = 1.0


@define
class Truth:
    """What became of a call: how often it was placed, what the second did, how long they talked."""

    originates: int
    second_status: str | None
    talk_seconds: float | None
    stood_still: float  # seconds of the call in which this machine did

    @classmethod
    def of(cls, seen: CallSeen, talk: PhoneCall | None) -> Truth:
        """Read it from the dialling by the call's first channel, or its phone, and from a phone.

        `talk` is the call as the second's phone had it, None where it did not talk.
        """
        root = seen.linkedid
        rung_first = {dial.callee for dial in seen.dials if dial.caller == root + ";2"}
        to_second = [dial for dial in seen.dials if dial.caller in {root, *rung_first}]
        answered = any(dial.status == "ANSWER" for dial in to_second)
        moments = [
            moment
            for channel in seen.channels
            for moment in (channel.created, channel.hung_up)
            if moment is not None
        ]
        return cls(
            stood_still=late_between(min(moments), max(moments)) if moments else 0.0,
            originates=seen.originates,
            second_status="ANSWER" if answered else to_second[-1].status if to_second else None,
            talk_seconds=talk.talk_seconds if talk else None,
        )

    def talked_for(self, told: float | None) -> bool:
        """Whether they did, as near as can be said."""
        if told is None or self.talk_seconds is None:
            return False
        return abs(told - self.talk_seconds) <= TALK_TOLERANCE + self.stood_still


@define
class Tally:
    """The counts of a run, and every breach of what is promised."""

    calls: int = 0
    kills: int = 0
    outcomes: Counter[str] = field(factory=Counter)
    rung_twice: int = 0
    reports: int = 0  # final events that came, repetitions among them
    unknown: Counter[str] = field(factory=Counter)  # of which calls nothing is known
    breaches: list[str] = field(factory=list)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        unknown = self.outcomes["unknown"]
        return (
            f"{self.calls} calls, {self.kills} kills: {outcomes}; "
            f"unknown {unknown} ({100 * unknown / max(1, self.calls):.1f} %); "
            f"rung twice {self.rung_twice}; final reports {self.reports} "
            f"of {self.calls} requests; breaches {len(self.breaches)}"
        ) + "".join(f"\n  unknown: {count} of {where}" for where, count in self.unknown.items())


class Judge:
    """Holds requests against the truth, and counts.

    `phones` are those that may be rung second.
    """

    def __init__(
        self, witness: Witness, receiver: WebhookReceiver, phones: Iterable[Phone] = ()
    ) -> None:
        self._witness = witness
        self._receiver = receiver
        self.phones = list(phones)
        self.tally = Tally()
        self.requests: set[str] = set()  # all that were judged

    def judge(self, agent: AgentProcess, request_id: str, expected: str, where: str) -> None:
        """Judge one request, to whose every question an answer has to come; `where` names it.

        `expected` is the outcome that the phones' behaviour makes.
        """
        self.tally.calls += 1
        self.requests.add(request_id)
        call = agent.ended(request_id)
        if call["outcome"] == "unknown":
            self.tally.unknown[where] += 1
        self.tally.breaches += [
            f"{where}: {request_id}: {what}" for what in self._faults(request_id, call, expected)
        ]

    def _faults(self, request_id: str, call: dict[str, Any], expected: str) -> list[str]:
        faults: list[str] = []
        outcome = str(call["outcome"])
        self.tally.outcomes[outcome] += 1
        truth = self._truth(request_id)
        if truth.originates > 1:
            self.tally.rung_twice += 1
            faults.append(f"the first leg was rung {truth.originates} times")
        if outcome == "unknown":
            if truth.originates:
                faults.append(f"unknown, and the dialplan knows better: {truth}")
        elif outcome == "rejected":  # the agent had only just started, and no link yet
            if truth.originates:
                faults.append(f"rejected, and placed all the same: {truth}")
        elif outcome != expected:
            faults.append(f"{outcome}, not {expected}: {truth}")
        if (outcome == "connected") != (truth.second_status == "ANSWER"):
            faults.append(f"{outcome}, but {truth}")
        if outcome == "connected" and not truth.talked_for(call["talk_seconds"]):
            faults.append(f"talked {call['talk_seconds']} s, but {truth}")
        faults += self._report_faults(request_id, call)
        return faults

    def _truth(self, request_id: str) -> Truth:
        """What was seen by others, who may hear of the end a moment later than the agent."""
        linkedid = linkedid_of(request_id)
        try:
            wait_until(
                lambda: not (seen := self._witness.call(linkedid)).channels or seen.is_gone,
                20,
                f"{linkedid} is over",
            )
        except WaitedInVainError as error:
            self.tally.breaches.append(f"a channel was left behind: {error}")
        seen = self._witness.call(linkedid)
        truth = Truth.of(seen, None)
        return Truth.of(seen, self._talk(linkedid)) if truth.second_status == "ANSWER" else truth

    def _talk(self, linkedid: str) -> PhoneCall | None:
        """The call as the phone had it that took it second, when it is over there, too."""

        def talk() -> PhoneCall | None:
            return talk_of(linkedid, [call for phone in self.phones for call in phone.calls()])

        try:
            return wait_until(talk, 20, f"a phone has talked in {linkedid}")
        except WaitedInVainError:
            return None  # then no talk is what it is told to have been

    def _report_faults(self, request_id: str, call: dict[str, Any]) -> list[str]:
        def finals() -> list[dict[str, Any]]:
            return [
                event
                for event in list(self._receiver.events)
                if event["request_id"] == request_id and event["type"] in FINAL
            ]

        try:
            events = wait_until(finals, REPORTED, f"the end of {request_id} is reported")
        except WaitedInVainError as error:
            return [str(error)]
        self.tally.reports += len(events)
        faults = []
        if len({event["id"] for event in events}) != 1:
            faults.append(f"{len(events)} different final events: {events}")
        if any(event["call"]["outcome"] != call["outcome"] for event in events):
            faults.append(f"reported as {events[0]['call']['outcome']}, not {call['outcome']}")
        return faults


def talk_of(linkedid: str, calls: Iterable[PhoneCall]) -> PhoneCall | None:
    """Return the talk that is over and was part of that call, as the dialplan told the phone."""
    return next(
        (
            call
            for call in calls
            if call.invite.header("X-Linkedid") == linkedid and call.talk_seconds is not None
        ),
        None,
    )


def ask_until_answered(
    agent: AgentProcess, first: str, second: str, request_id: str, timeout: float = 60
) -> dict[str, Any]:
    """Ask for a call as a client that is told to repeat a request whose answer is lost."""

    def asked() -> dict[str, Any] | None:
        try:
            response = agent.place(first, second, request_id=request_id)
        except (URLError, OSError, ValueError):
            return None
        codes = {entry["error"]["code"] for entry in response["errors"]}
        return None if response["request_id"] is None else response | {"codes": codes}

    return wait_until(asked, timeout, f"an answer to {request_id}") or {}
