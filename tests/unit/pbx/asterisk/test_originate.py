"""How a call is placed at Asterisk, by the configuration."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Refusal
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import AsteriskConfig, LegRule
from c2c_agent.errors import ApiError, ErrorCode
from c2c_agent.pbx.asterisk.astdb import merge_left
from c2c_agent.pbx.asterisk.originate import make_plan
from c2c_agent.policy.pattern import parse_pattern
from tests.fakes import uuid

JOB = CallJob(dial_first="100", dial_second="200", dial_as="102", timeout=20)
TRUNK = LegRule(parse_pattern("_00."), "PJSIP/{number}@trunk")
INSIDE = LegRule(parse_pattern("_XXX"), "Local/{number}@{context}/n")


def plan(config: AsteriskConfig, job: CallJob = JOB) -> OriginatePlan:
    """The plan of a job."""
    return make_plan(
        config, uuid(1), job, "sales", agi_url="agi://127.0.0.1:4573/c2c", max_duration=3600
    )


def variables(made: OriginatePlan) -> list[str]:
    """The variables that are sent."""
    sent = made.data["Variable"]
    assert isinstance(sent, list)
    return sent


class TestRules:
    """The first rule that matches a number says how it is rung."""

    def test_the_first_that_matches(self) -> None:
        """One that does not match is passed over, on each leg."""
        config = AsteriskConfig(first_leg=[TRUNK, INSIDE], second_leg=[TRUNK, INSIDE])
        inside = plan(config)
        assert inside.data["Channel"] == "Local/100@sales/n"
        assert inside.target == "Local/200@sales/n"
        outside = plan(config, evolve(JOB, dial_second="0049301234"))
        assert outside.target == "PJSIP/0049301234@trunk"

    @pytest.mark.parametrize(
        "config", [AsteriskConfig(first_leg=[TRUNK]), AsteriskConfig(second_leg=[TRUNK])]
    )
    def test_none_matches(self, config: AsteriskConfig) -> None:
        """A number that the configuration does not mention is not dialled at all."""
        with pytest.raises(ApiError) as raised:
            plan(config)
        [fault] = raised.value.faults
        assert fault.code is ErrorCode.NOT_ALLOWED


class TestVariables:
    """What the dialplan is told."""

    def test_auto_answer(self) -> None:
        """The profile goes to the first leg's dialplan; nothing where none is wanted."""
        asked = variables(plan(AsteriskConfig(), evolve(JOB, auto_answer="call-info")))
        assert "__C2C_AUTO_ANSWER=call-info" in asked
        assert not any("AUTO_ANSWER" in variable for variable in variables(plan(AsteriskConfig())))

    def test_confirm(self) -> None:
        """The prompt goes to the bridge alone, and the plan knows that it takes its time."""
        made = plan(AsteriskConfig(confirm_prompt="hello&press-1"), evolve(JOB, confirm=True))
        assert "C2C_CONFIRM=hello&press-1" in variables(made)
        assert made.confirm_seconds > 3 * 5
        assert plan(AsteriskConfig()).confirm_seconds == 0

    def test_the_outside_contract(self) -> None:
        """The call, inherited by the channels that it makes."""
        assert variables(plan(AsteriskConfig())) == [
            f"__C2C_REQUEST_ID={uuid(1)}",
            "__C2C_FIRST=100",
            "__C2C_SECOND=200",
            "__C2C_DIAL_AS=102",
            "__C2C_CONTEXT=sales",
            "__C2C_TIMEOUT=20",
            "C2C_AGI=agi://127.0.0.1:4573/c2c",
            "C2C_SECOND_CHANNEL=Local/200@sales/n",
            "C2C_MAX_DURATION=3600",
        ]

    def test_freepbx(self) -> None:
        """The dialplan is told that it stands on a FreePBX."""
        assert "C2C_FREEPBX=1" in variables(plan(AsteriskConfig(freepbx=True)))

    def test_freepbx_and_the_first_leg(self) -> None:
        """Whoever is rung first, and whatever is configured: the user is that of dial_as."""
        inherited = {"__REALCALLERIDNUM": "200", "__AMPUSER": "200", "__AMPUSERCIDNAME": "Boss"}
        for more in ({}, inherited):
            sent = variables(plan(AsteriskConfig(freepbx=True, variables=more)))
            told = [one for one in sent if one.startswith(("__REALCALLERIDNUM", "__AMPUSER"))]
            assert told == ["__REALCALLERIDNUM=102", "__AMPUSER=", "__AMPUSERCIDNAME="]

    def test_more(self) -> None:
        """Configured ones, with their placeholders filled in."""
        config = AsteriskConfig(variables={"__SITE": "{number} {dial_as} {context}"})
        assert variables(plan(config))[-1] == "__SITE=100 102 sales"


def test_a_limit_of_the_plan() -> None:
    """What was granted goes to the dialplan, and is kept with the plan."""
    made = plan(AsteriskConfig())
    assert made.max_duration == 3600
    assert "C2C_MAX_DURATION=3600" in variables(made)


def test_times_of_another_clock() -> None:
    """They are moved together: by what is known, or by the end that both have seen."""
    left = "ANSWER,16,4600.0,4605.0,4620.0"
    moved = merge_left(CallEvidence(lost=True), left, ahead=3600.0)
    assert (moved.first.answered_at, moved.second.answered_at) == (1000.0, 1005.0)
    assert moved.second.ended_at == 1020.0
    seen = CallEvidence(first=LegEvidence(ended_at=2020.0), lost=True)
    moved = merge_left(seen, left, ahead=-3600.0)
    assert (moved.second.answered_at, moved.second.ended_at) == (2005.0, 2020.0)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_was_set_after_the_end(jump: float) -> None:
    """Nobody was there for the end, and the clock is another since: the beginning was seen."""
    seen = CallEvidence(LegEvidence(answered_at=1000.2), LegEvidence(answered_at=1005.1), lost=True)
    moved = merge_left(seen, "ANSWER,16,1000.2,1005.1,1020.2", ahead=jump, now=1060.0)
    assert moved.second.answered_at == pytest.approx(1005.1)
    assert moved.second.ended_at == pytest.approx(1020.2)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_was_set_before_the_end(jump: float) -> None:
    """Then it is still what it was at the end."""
    seen = CallEvidence(LegEvidence(answered_at=1000.2), LegEvidence(answered_at=1005.1), lost=True)
    left = f"ANSWER,16,1000.2,1005.1,{1020.2 + jump}"
    moved = merge_left(seen, left, ahead=jump, now=1060.0)
    assert moved.second.ended_at == pytest.approx(1020.2)


def test_the_first_leg_was_watched_in_part() -> None:
    """What was seen of it stays."""
    seen = CallEvidence(LegEvidence(channel="PJSIP/100-1", cause=21, ended_at=9.0), lost=True)
    merged = merge_left(seen, "first,CHANUNAVAIL,0,3610.0", ahead=3600.0)
    assert merged == CallEvidence(evolve(seen.first, status="CHANUNAVAIL"))
    moved = merge_left(CallEvidence(lost=True), "first,BUSY,17,3610.0", ahead=3600.0)
    assert moved.first.ended_at == 10.0


def test_the_first_leg_was_taken_for_the_second() -> None:
    """Its phone alone was found, and could have been either; as nobody answered, it is this."""
    root = LegEvidence(channel="Local/100@c2c-first-0;1", cause=17, ended_at=9.0)
    phone = LegEvidence(channel="PJSIP/100-1", cause=17, sip=486, ended_at=9.1)
    merged = merge_left(CallEvidence(root, phone, dialed=True, lost=True), "first,BUSY,17,9.0")
    assert merged == CallEvidence(evolve(root, channel="PJSIP/100-1", sip=486, status="BUSY"))


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (
            "ANSWER,16,10.0,12.0,20.0",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="ANSWER", cause=16, answered_at=12.0, ended_at=20.0),
                dialed=True,
            ),
        ),
        (
            "BUSY,17,10.0,,11.0",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="BUSY", cause=17, ended_at=11.0),
                dialed=True,
            ),
        ),
        (
            ",0,10.0,,11.0",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(cause=0, ended_at=11.0),
                hung_up_by=Leg.FIRST,
            ),
        ),
        (
            ",0,10.0,,20.0,unconfirmed",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(cause=0, ended_at=20.0),
                refusal=Refusal.UNCONFIRMED,
            ),
        ),
        (
            ",0,10.0,,20.0,declined",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(cause=0, ended_at=20.0),
                refusal=Refusal.DECLINED,
            ),
        ),
        (
            "BUSY,17,10.0,,11.0,yes",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="BUSY", cause=17, ended_at=11.0),
                dialed=True,
            ),
        ),
        (
            "first,BUSY,17,11.0",
            CallEvidence(LegEvidence(status="BUSY", cause=17, ended_at=11.0)),
        ),
        (
            "first,,20,11.0",
            CallEvidence(LegEvidence(cause=20, ended_at=11.0)),
        ),
        (
            "first,NOANSWER,19,11.0",
            CallEvidence(LegEvidence(status="NOANSWER", cause=19, ended_at=11.0), lost=True),
        ),
        (
            "first,CANCEL,x",
            CallEvidence(LegEvidence(status="CANCEL")),
        ),
        (
            "nonsense",
            CallEvidence(LegEvidence(status="ANSWER"), LegEvidence(status="nonsense"), dialed=True),
        ),
    ],
    ids=[
        "answered",
        "busy",
        "gone-before",
        "unconfirmed",
        "declined",
        "confirmed",
        "first-busy",
        "first-absent",
        "first-silent",
        "first-given-up",
        "nonsense",
    ],
)
def test_what_the_dialplan_left(left: str, expected: CallEvidence) -> None:
    """Status, cause and times become evidence; nothing is lost any more."""
    assert merge_left(CallEvidence(lost=True), left) == expected
