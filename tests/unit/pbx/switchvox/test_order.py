"""What a Switchvox is told of a call."""

from __future__ import annotations

from unittest import TestCase

from attrs import evolve

from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.pbx.switchvox.order import Order, make_plan, numbers_in, sends_second_timeout
from tests.playbook import PLAN

CONFIG = SwitchvoxConfig("https://pbx.example.com", "c2c-agent", "/nowhere")
JOB = CallJob("101", "+1*5#", "101", 20, pbx="switchvox", max_duration=60)


class OrderTest(TestCase):
    def test_settings_are_sent_where_they_are_not_the_pbxs_own(self) -> None:
        plan = make_plan(CONFIG, JOB, "1107")
        assert isinstance(plan.order, Order)
        self.assertEqual(
            plan.order.parameters,
            {
                "dial_first": "101",
                "dial_second": "1*5#",
                "timeout": "20",
                "dial_as_account_id": "1107",
                "timeout_second_call": "20",
                "ignore_user_call_rules": "1",
            },
        )
        bare = evolve(
            CONFIG,
            second_timeout=False,
            ignore_user_call_rules=False,
            ignore_user_api_settings=True,
        )
        parameters = make_plan(bare, JOB, None).data["parameters"]
        self.assertEqual(
            parameters,
            {
                "dial_first": "101",
                "dial_second": "1*5#",
                "timeout": "20",
                "ignore_user_api_settings": "1",
            },
        )
        self.assertEqual((plan.timeout, plan.max_duration), (20, 60))

    def test_a_stored_plan_is_read_back(self) -> None:
        plan = make_plan(CONFIG, JOB, "1107")
        self.assertEqual(numbers_in(plan), ("101", "1*5#"))
        self.assertTrue(sends_second_timeout(plan))
        self.assertEqual(numbers_in(PLAN), ("", PLAN.target))
        self.assertFalse(sends_second_timeout(PLAN))
