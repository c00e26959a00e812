"""The alert rules' own tests, which promtool runs, leave no rule out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

DOCS: Final = Path(__file__).parent.parent / "docs"


def test_every_rule_is_tested() -> None:
    """Of each rule it is tested that it fires, and that it does not."""
    [group] = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    cases = yaml.safe_load((DOCS / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    tested = {
        (test["alertname"], bool(test.get("exp_alerts")))
        for case in cases
        for test in case["alert_rule_test"]
    }
    rules = [rule["alert"] for rule in group["rules"]]
    assert tested == {(rule, fires) for rule in rules for fires in (True, False)}
