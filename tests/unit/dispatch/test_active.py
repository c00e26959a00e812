"""A call in progress: whose it is, its second leg, and what it gives back."""

from __future__ import annotations

import pytest

from c2c_agent.call.call import Answer, CallState
from c2c_agent.dispatch.active import ActiveCall, Ownership
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.meter import Admission, Meter
from tests.playbook import PLAN, a_call


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


def test_its_slot_is_given_back_before_its_minutes() -> None:
    """The slot when its requester was told that it failed, the minutes when it has ended."""
    meter = Meter(9)
    failed = Answer((Fault(ErrorCode.PBX_UNAVAILABLE, "no"),))
    active = ActiveCall(a_call(state=CallState.FIRST_RINGING))
    active.count(0.0)
    active.lease = meter.resume("crm", Admission(60, reserved=90), 0.0)
    active.count(1.0)
    assert meter.running == 1
    active.call = a_call(state=CallState.FIRST_RINGING, answer=failed)
    for _ in range(2):
        active.count(2.0)
        assert (meter.running, meter._usage["crm"].reserved) == (0, 90)
    active.call = a_call(state=CallState.ENDED, answer=failed)
    for _ in range(2):
        active.count(3.0)
        assert (meter.running, meter._usage["crm"].reserved) == (0, 0)
