"""How a call is placed at Asterisk, by the configuration."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.ami.actions import Action
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import AsteriskConfig, DialAsConfig, LegRule, SecondLegRule
from c2c_agent.errors import ApiError, ErrorCode
from c2c_agent.pbx.asterisk.originate import make_plan, secret_digest
from c2c_agent.policy.pattern import parse_pattern
from tests.fakes import uuid

JOB = CallJob(dial_first="100", dial_second="200", dial_as="102", timeout=20)
TRUNK = LegRule(parse_pattern("_00."), "PJSIP/{number}@trunk")
INSIDE = LegRule(parse_pattern("_XXX"), "Local/{number}@{context}/n")
SECOND_TRUNK = SecondLegRule(parse_pattern("_00."), "PJSIP/{number}@trunk")
SECOND_INSIDE = SecondLegRule(parse_pattern("_XXX"), "Local/{number}@{context}/n")


def plan(config: AsteriskConfig, job: CallJob = JOB) -> OriginatePlan:
    """The plan of a job."""
    return make_plan(
        config, uuid(1), job, "sales", agi_url="agi://127.0.0.1:8475/c2c", max_duration=3600
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
        config = AsteriskConfig(first_leg=[TRUNK, INSIDE], second_leg=[SECOND_TRUNK, SECOND_INSIDE])
        inside = plan(config)
        assert inside.data["Channel"] == "Local/100@sales/n"
        assert inside.target == "Local/200@sales/n"
        outside = plan(config, evolve(JOB, dial_second="0049301234"))
        assert outside.target == "PJSIP/0049301234@trunk"

    @pytest.mark.parametrize(
        "config", [AsteriskConfig(first_leg=[TRUNK]), AsteriskConfig(second_leg=[SECOND_TRUNK])]
    )
    def test_none_matches(self, config: AsteriskConfig) -> None:
        """A number that the configuration does not mention is not dialled at all."""
        with pytest.raises(ApiError) as raised:
            plan(config)
        [fault] = raised.value.faults
        assert fault.code is ErrorCode.NOT_ALLOWED


class TestNumberPlan:
    """Numbers that are dialled in another way than they were written."""

    JOB = evolve(
        JOB,
        dial_first="+49171123456",
        dial_second="+4930123456",
        dialed_first="00171123456",
        dialed_second="0030123456",
    )

    def test_what_is_dialled(self) -> None:
        """Rules, variables and templates have the numbers as they are dialled."""
        config = AsteriskConfig(
            first_leg=[TRUNK], second_leg=[SECOND_TRUNK], variables={"X": "{number}"}
        )
        made = plan(config, self.JOB)
        assert made.data["Channel"] == "PJSIP/00171123456@trunk"
        assert made.target == "PJSIP/0030123456@trunk"
        assert {"__C2C_FIRST=00171123456", "__C2C_SECOND=0030123456", "_X=00171123456"} <= {
            *variables(made)
        }

    def test_what_is_shown(self) -> None:
        """The first phone shows the number that was asked for."""
        assert plan(AsteriskConfig(), self.JOB).data["CallerID"] == '"+4930123456" <+4930123456>'


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
        assert "_C2C_CONFIRM=hello&press-1" in variables(made)
        assert made.confirm_seconds > 3 * 5
        assert plan(AsteriskConfig()).confirm_seconds == 0
        assert not any("CONFIRM_WHERE" in variable for variable in variables(made))

    def test_confirm_where_a_dialplan_answers(self) -> None:
        """The dialplan finds out what has; it may take as long."""
        made = plan(AsteriskConfig(), evolve(JOB, confirm="auto"))
        assert "_C2C_CONFIRM=followme/options" in variables(made)
        assert "_C2C_CONFIRM_WHERE=dialplan" in variables(made)
        assert made.confirm_seconds > 3 * 5

    def test_variables_of_the_dial_as_endpoint(self) -> None:
        """Each as it is set for the channel that runs that user's dialplan, and as it is there."""
        taken = DialAsConfig(set_var=("CLASS", "_A", "__FLOOR"))
        asked = variables(plan(AsteriskConfig(dial_as=taken)))
        assert "_C2C_AS_USER=_CLASS=CLASS:__A=_A:__FLOOR=__FLOOR" in asked
        assert not any("AS_USER" in variable for variable in variables(plan(AsteriskConfig())))
        taken = evolve(taken, language=True)
        asked = variables(plan(AsteriskConfig(dial_as=taken)))
        assert "_C2C_AS_USER=_CLASS=CLASS:__A=_A:__FLOOR=__FLOOR:_C2C_LANGUAGE=language" in asked

    def test_the_outside_contract(self) -> None:
        """The call, inherited by the channels that it makes."""
        assert variables(plan(AsteriskConfig())) == [
            f"__C2C_REQUEST_ID={uuid(1)}",
            "__C2C_FIRST=100",
            "__C2C_SECOND=200",
            "__C2C_DIAL_AS=102",
            "__C2C_CONTEXT=sales",
            "__C2C_TIMEOUT=20",
            "_C2C_AGI=agi://127.0.0.1:8475/c2c",
            "_C2C_SECOND_CHANNEL=Local/200@sales",
            "_C2C_MAX_DURATION=3600",
            "_C2C_SECRET=(not shown)",
            "C2C_TAKEN=0",
        ]

    def test_the_secret(self) -> None:
        """It is sent, and is another for each call; of the plan only its digest is kept."""
        made = [plan(AsteriskConfig()) for _ in range(2)]
        orders = [one.order for one in made]
        headers = [order.headers for order in orders if isinstance(order, Action)]
        secrets = [
            value.removeprefix("_C2C_SECRET=")
            for sent in headers
            for _, value in sent
            if value.startswith("_C2C_SECRET=")
        ]
        assert len(set(secrets)) == 2
        assert [secret_digest(secret) for secret in secrets] == [one.secret_digest for one in made]
        for one, secret in zip(made, secrets, strict=True):
            assert secret not in str(one.data) + repr(one) + repr(one.order)

    def test_a_bridge_context_of_ones_own(self) -> None:
        """It does not know what to do with a phone that was taken out, so none is."""
        sent = variables(plan(AsteriskConfig(bridge_context="my-bridge")))
        assert not any(one.startswith("C2C_TAKEN") for one in sent)

    def test_freepbx(self) -> None:
        """The dialplan is told that it stands on a FreePBX."""
        assert "_C2C_FREEPBX=1" in variables(plan(AsteriskConfig(freepbx=True)))

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

    @pytest.mark.parametrize(
        ("name", "sent"), [("SITE", "_SITE"), ("_SITE", "__SITE"), ("__SITE", "__SITE")]
    )
    def test_more_come_as_far_as_the_phone(self, name: str, sent: str) -> None:
        """Who dials the second leg has them as the channel that was originated has."""
        assert variables(plan(AsteriskConfig(variables={name: "here"})))[-1] == f"{sent}=here"


def test_a_limit_of_the_plan() -> None:
    """What was granted goes to the dialplan, and is kept with the plan."""
    made = plan(AsteriskConfig())
    assert made.max_duration == 3600
    assert "_C2C_MAX_DURATION=3600" in variables(made)
