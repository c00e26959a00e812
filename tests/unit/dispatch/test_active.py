"""A call in progress: whose it is, its second leg, and what it gives back."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.call.call import Answer, CallState, Exchange, Timekeeper
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.dispatch.active import ActiveCall, Ownership
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission, LimitReached, Meter
from tests.playbook import JOB, PLAN, a_call

FAILED = Answer((Fault(ErrorCode.PBX_UNAVAILABLE, "no"),))


class TestOwnership:
    """Whose a call is, from the question to the store to its answer."""

    def test_a_cancel_is_kept_until_it_is_decided(self) -> None:
        """What is decided already stays as it is."""
        assert Ownership.UNDECIDED.cancelled() is Ownership.UNWANTED
        assert Ownership.UNWANTED.cancelled() is Ownership.UNWANTED
        assert Ownership.OURS.cancelled() is Ownership.OURS
        assert Ownership.FOREIGN.cancelled() is Ownership.FOREIGN

    def test_decided(self) -> None:
        """Not while the store is being asked."""
        decided = {ownership for ownership in Ownership if ownership.is_decided}
        assert decided == {Ownership.OURS, Ownership.FOREIGN}

    @pytest.mark.parametrize(
        ("before", "wanted"), [(Ownership.UNDECIDED, True), (Ownership.UNWANTED, False)]
    )
    def test_ours(self, before: Ownership, *, wanted: bool) -> None:
        """It says whether it was cancelled meanwhile."""
        active = ActiveCall(a_call(), before)
        assert active.is_ours() is wanted
        assert active.ownership is Ownership.OURS

    @pytest.mark.parametrize("foreign", [True, False])
    def test_made_before(self, *, foreign: bool) -> None:
        """It is the earlier call from then on."""
        earlier = a_call(key="shop")
        active = ActiveCall(a_call(), Ownership.UNWANTED)
        assert not active.was_made_before(earlier, foreign=foreign)
        assert active.call is earlier
        assert active.ownership is (Ownership.FOREIGN if foreign else Ownership.OURS)


@pytest.mark.parametrize("state", CallState)
def test_its_second_leg_is_given_out_once(state: CallState) -> None:
    """To a call that was sent, is not cancelled, and has not dialled it."""
    early = {CallState.DIALING_FIRST, CallState.FIRST_RINGING, CallState.FIRST_ANSWERED}
    call = a_call(state=state, plan=PLAN)
    active = ActiveCall(call)
    assert active.may_bridge() is None
    active.sent = True
    assert active.may_bridge() is (PLAN if state in early else None)
    assert active.may_bridge() is None
    cancelled = ActiveCall(a_call(state=state, plan=PLAN, cancelled=True), sent=True)
    assert cancelled.may_bridge() is None


@pytest.mark.parametrize("state", [one for one in CallState if one is not CallState.ENDED])
def test_its_slot_lives_as_long_as_the_call(state: CallState) -> None:
    """Also where its requester was told that it failed: its phones may ring all the same."""
    meter = Meter(9)
    active = ActiveCall(a_call(state=state, plan=PLAN))
    active.count(0.0)
    active.lease = meter.resume("crm", Admission(60, reserved=90), 0.0)
    for answer in (None, FAILED):
        active.call = a_call(state=state, plan=PLAN, answer=answer)
        active.count(1.0)
        assert (meter.running, meter._usage["crm"].reserved) == (1, 90)
    active.call = a_call(state=CallState.ENDED, plan=PLAN, answer=FAILED)
    for _ in range(2):
        active.count(2.0)
        assert (meter.running, meter._usage["crm"].reserved) == (0, 0)


def test_the_slot_of_a_job_that_no_agent_has_told_of() -> None:
    """It has expired when its requester is told so, and may wait for its agent for days."""
    meter = Meter(9)
    elsewhere = evolve(PLAN, timekeeper=Timekeeper.ELSEWHERE)
    told = Exchange(1000.0, {})
    for response, running in ((told, 1), (None, 0)):
        call = a_call(
            state=CallState.DIALING_FIRST, plan=elsewhere, answer=FAILED, pbx_response=response
        )
        active = ActiveCall(call, lease=meter.resume("crm", Admission(60, reserved=90), 0.0))
        before = meter.running - 1
        active.count(1.0)
        assert meter.running - before == running
        assert not evolve(call, answer=None).is_void
        assert evolve(call, answer=None).holds_slot


def test_a_void_call_is_not_connected() -> None:
    """Its requester was told that it failed: whoever answers first is not put through."""
    call = a_call(state=CallState.FIRST_RINGING, plan=PLAN, answer=FAILED)
    assert ActiveCall(call, sent=True).may_bridge() is None


@pytest.mark.parametrize(
    ("first_ended", "second_ended", "hung_up"),
    [
        (60.5, 60.0, 60.0),  # a transfer: the colleague, who is of the second leg, hung up
        (60.0, 60.5, 60.0),  # a transfer: the first hung up
        (60.0, 20.0, 60.0),  # a survey: the second left the first to the dialplan
        (60.0, None, None),  # nobody saw what became of the second
    ],
)
def test_its_minutes_reach_to_the_end_of_the_talk(
    first_ended: float, second_ended: float | None, hung_up: float | None
) -> None:
    """Not to that of the channel which was connected: the key has talked on, and pays for it."""
    meter = Meter(9)
    crm = Key(name="crm", sha256="0" * 64, minutes_per_day=1)
    active = ActiveCall(a_call(plan=PLAN))
    active.lease = meter.resume("crm", Admission(60, reserved=90), 0.0)
    active.call = a_call(
        state=CallState.ENDED,
        plan=PLAN,
        first=LegEvidence(answered_at=2.0, ended_at=first_ended),
        second=LegEvidence(answered_at=5.0, ended_at=second_ended),
        hung_up_at=hung_up,
        ended_at=61.0,
    )
    active.count(61.0)
    latest = max(at for at in (first_ended, second_ended, hung_up) if at is not None)
    assert meter.use("crm", 61.0).seconds == latest - 2.0
    refused = meter.admit(crm, JOB, 60, 61.0)
    assert isinstance(refused, LimitReached)
    assert refused.fault.code is ErrorCode.RATE_LIMITED
