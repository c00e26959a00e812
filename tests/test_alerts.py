"""Alert rules and dashboard speak of metrics that there are; promtool tests what the rules do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from c2c_agent.metrics import AgiSample, AmiSample, Metrics, OutboxSample, Sample

DOCS: Final = Path(__file__).parent.parent / "docs"

#: What Prometheus adds to a metric's name.
_SUFFIX: Final = re.compile(r"_(total|bucket|sum|count)$")


def exported() -> set[str]:
    """The names of all metrics of an agent that has everything."""
    sample = Sample(
        ami=AmiSample(up=True, reconnects=0),
        agi=AgiSample(0, {"too_many": 0}),
        outbox={"crm": OutboxSample(0, 0, 0.0)},
    )
    text = Metrics(lambda: sample).expose().content.decode()
    return {_SUFFIX.sub("", name) for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("file", ["alerts.yml", "alerts_test.yml", "grafana-dashboard.json"])
def test_metrics(file: str) -> None:
    """Each name is one that the agent exports."""
    named = set(re.findall(r"\bc2c_[a-z_]+", (DOCS / file).read_text(encoding="utf-8")))
    assert named
    assert {_SUFFIX.sub("", name) for name in named} <= exported()


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
