"""The metrics: each thing that happens is counted once, and what is so now is asked for then."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import mock

import yaml
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    Place,
    Reject,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, SaidBy
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.report.metrics import AgiSample, LoopWatch, Metrics, OutboxSample, PbxSample, Sample
from tests.fakes import DISK_FULL, EPOCH, DeskTest, uuid
from tests.playbook import PLAN, Playbook, a_call

DOCS = Path(__file__).parents[3] / "docs"

BUSY = Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17)))
FAULT = Fault(ErrorCode.NOT_ALLOWED, "This key may not dial this dial_first.")


def told(metrics: Metrics) -> dict[str, float]:
    """The samples as Prometheus reads them, by name and labels; those that are 0 are left out."""
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): (
            sample.value
        )
        for family in text_string_to_metric_families(metrics.expose().content.decode())
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_created", "_bucket"))
    }


class Play(Playbook):
    """A playbook that announces each step as the dispatcher does."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(a_call())
        self._metrics = metrics

    def plays(self, *steps: tuple[float, object]) -> Call:
        """What happens when, in seconds; the call after it."""
        for seconds, event in steps:
            before = self.call
            self.at(seconds).on(event)  # type: ignore[arg-type]
            self._metrics.call_changed(before, self.call)
        return self.call


class Calls(SynchronousTestCase):
    """What is counted of calls."""

    def setUp(self) -> None:
        """Metrics of an agent in which nothing has happened."""
        self.metrics = Metrics(Sample)
        self.play = Play(self.metrics)

    def test_nothing_yet(self) -> None:
        """Every outcome is there from the start, so that the first of its kind is seen to come."""
        assert told(self.metrics) == {}
        text = self.metrics.expose().content.decode()
        for outcome in Outcome:
            assert f'c2c_requests_total{{outcome="{outcome}"}} 0.0\n' in text

    def test_a_whole_call(self) -> None:
        """How long everything took, and how it ended."""
        evidence = CallEvidence(
            first=LegEvidence(
                status="ANSWER",
                cause=16,
                ringing_at=1001.0,
                answered_at=1003.0,
                by=SaidBy.DEVICE,
            ),
            second=LegEvidence(status="ANSWER", cause=16, answered_at=1008.0, by=SaidBy.DIALPLAN),
            dialed=True,
            hung_up_by=Leg.SECOND,
        )
        self.play.plays(
            (0.5, Place(PLAN)),
            (0.75, OriginateAccepted()),
            (1, FirstRinging("PJSIP/100-1")),
            (3, FirstAnswered("PJSIP/100-1")),
            (4, SecondDialed(30)),
            (6, SecondRinging("PJSIP/200-2")),
            (8, SecondAnswered("PJSIP/200-2")),
            (20, Gone(evidence)),
        )
        assert told(self.metrics) == {
            "c2c_requests_total connected": 1,
            "c2c_legs_total device first ANSWER": 1,
            "c2c_legs_total dialplan second ANSWER": 1,
            "c2c_ring_seconds_count first": 1,
            "c2c_ring_seconds_sum first": 0.5,
            "c2c_ring_seconds_count second": 1,
            "c2c_ring_seconds_sum second": 2,
            "c2c_answer_seconds_count first": 1,
            "c2c_answer_seconds_sum first": 2.5,
            "c2c_answer_seconds_count second": 1,
            "c2c_answer_seconds_sum second": 4,
            "c2c_connect_seconds_count": 1,
            "c2c_connect_seconds_sum": 8,
        }

    def test_what_comes_late(self) -> None:
        """What the evidence alone knows is counted at the end; what comes after that, never."""
        rang = Gone(CallEvidence(first=LegEvidence(status="NOANSWER", cause=19, ringing_at=1002)))
        self.play.plays((0, Place(PLAN)), (30, rang), (31, rang), (32, FirstRinging()))
        assert told(self.metrics) == {
            "c2c_requests_total first_no_answer": 1,
            "c2c_legs_total unknown first NOANSWER": 1,
            "c2c_ring_seconds_count first": 1,
            "c2c_ring_seconds_sum first": 2,
        }

    def test_refused(self) -> None:
        """A request that reached no PBX has an outcome, and no legs."""
        self.play.plays((0, Reject((FAULT,))))
        assert told(self.metrics) == {"c2c_requests_total rejected": 1}

    def test_in_progress(self) -> None:
        """What ended before the agent was started again has been counted then."""
        before = self.play.plays((0, Place(PLAN)), (2, FirstRinging()))
        metrics = Metrics(Sample)
        metrics.call_changed(before, evolve(before, cancelled=True))
        assert told(metrics) == {}

    def test_strange_words(self) -> None:
        """A dial status that Asterisk does not have makes no label of its own."""
        strange = Gone(CallEvidence(first=LegEvidence(status='X"\n{}', cause=17)))
        self.play.plays((0, Place(PLAN)), (1, strange))
        assert told(self.metrics)["c2c_legs_total unknown first other"] == 1

    def test_clock_set_back(self) -> None:
        """Times from before a restart may lie ahead; nothing takes less than no time."""
        self.play.plays((5, Place(PLAN)), (2, FirstRinging()))
        assert told(self.metrics) == {"c2c_ring_seconds_count first": 1}


class Parts(SynchronousTestCase):
    """What is so at present."""

    def test_without_an_asterisk(self) -> None:
        """Nothing is said of what is not there."""
        text = Metrics(Sample).expose().content.decode()
        assert "c2c_ami" not in text
        assert "c2c_agi" not in text

    def test_at_each_scrape(self) -> None:
        """Asked for anew, and not before."""
        samples = [
            Sample(
                {CallState.CONNECTED: 2, CallState.ENDED: 1},
                [PbxSample("asterisk", "asterisk", up=True, calls=3, reconnects=3)],
                AgiSample(4, {"too_many": 5, "malformed": 0}),
            ),
            Sample(pbxs=[PbxSample("asterisk", "asterisk", up=False, reconnects=3)]),
        ]
        metrics = Metrics(lambda: samples.pop(0))
        assert told(metrics) == {
            "c2c_calls connected": 2,
            "c2c_calls ended": 1,
            "c2c_pbx_up asterisk asterisk": 1,
            "c2c_pbx_calls asterisk asterisk": 3,
            "c2c_ami_up": 1,
            "c2c_ami_reconnects_total": 3,
            "c2c_agi_sessions": 4,
            "c2c_agi_refused_total too_many": 5,
        }
        assert told(metrics) == {"c2c_ami_reconnects_total": 3}

    def test_outbox(self) -> None:
        """What waits for each target, and for how long."""
        sample = Sample(outbox={"crm": OutboxSample(3, 2, 12.5), "shop": OutboxSample(0, 0, 0.0)})
        assert told(Metrics(lambda: sample)) == {
            "c2c_outbox_waiting crm": 3,
            "c2c_outbox_dead crm": 2,
            "c2c_outbox_oldest_seconds crm": 12.5,
        }

    def test_streams(self) -> None:
        """How many are open, and how many were cut."""
        assert told(Metrics(lambda: Sample(streams=3, streams_cut=2))) == {
            "c2c_event_streams": 3,
            "c2c_event_streams_cut_total": 2,
        }

    def test_several_pbxs(self) -> None:
        """Each has its own lines; an AMI link is told apart by a label where its PBX has a name."""
        samples = [
            PbxSample("north", "asterisk", up=True, calls=2, reconnects=1),
            PbxSample("south", "asterisk", up=False, reconnects=4),
            PbxSample("switchvox", "switchvox", up=True, calls=1),
        ]
        assert told(Metrics(lambda: Sample(pbxs=samples))) == {
            "c2c_pbx_up asterisk north": 1,
            "c2c_pbx_up switchvox switchvox": 1,
            "c2c_pbx_calls asterisk north": 2,
            "c2c_pbx_calls switchvox switchvox": 1,
            "c2c_ami_up north": 1,
            "c2c_ami_reconnects_total north": 1,
            "c2c_ami_reconnects_total south": 4,
        }

    def test_no_ami_link(self) -> None:
        """Nothing is said of one where no PBX has one."""
        told_of = told(Metrics(lambda: Sample(pbxs=[PbxSample("hotel", "switchvox", up=True)])))
        assert told_of == {"c2c_pbx_up switchvox hotel": 1}

    def test_lost_calls(self) -> None:
        """Those of which something was missed; not those that a PBX never tells the end of."""
        metrics = Metrics(Sample)
        for reason in (*UnknownReason, UnknownReason.LOST):
            ended = a_call(state=CallState.ENDED, outcome=Outcome.UNKNOWN, reason=reason)
            metrics.call_changed(a_call(), ended)
        counted = told(metrics)
        assert counted["c2c_lost_calls_total"] == 2
        assert counted["c2c_requests_total unknown"] == 3

    def test_two_agents(self) -> None:
        """Two in one process count for themselves."""
        one, other = Metrics(Sample), Metrics(Sample)
        one.loop_delayed(1)
        assert told(one) != {}
        assert told(other) == {}


class FromTheDispatcher(DeskTest):
    """What the dispatcher announces."""

    def setUp(self) -> None:
        """A desk whose dispatcher is observed."""
        super().setUp()
        self.metrics = Metrics(lambda: Sample(self.desk.dispatcher.states))
        self.observe(self.metrics)

    def observe(self, observer: Metrics) -> None:
        """Let somebody follow the calls."""
        self.desk.dispatcher._observers = [observer]

    def test_a_call(self) -> None:
        """Where it is, and what became of it; asked for again, it does not count again."""
        self.desk.submit(request_id=uuid(1))
        self.driver.tells(uuid(1), OriginateAccepted(), FirstRinging())
        assert told(self.metrics)["c2c_calls first_ringing"] == 1
        self.driver.tells(uuid(1), BUSY)
        self.desk.submit(request_id=uuid(1))
        assert told(self.metrics) == {
            "c2c_requests_total first_busy": 1,
            "c2c_legs_total unknown first BUSY": 1,
            "c2c_ring_seconds_count first": 1,
        }

    def test_an_end_that_is_not_stored(self) -> None:
        """It is seen for as long as that lasts, and counted once."""
        self.desk.submit(request_id=uuid(1))
        self.driver.tells(uuid(1), OriginateAccepted())
        self.store.hold_writes()
        self.driver.tells(uuid(1), BUSY)
        self.store.fail(error=DISK_FULL)
        assert told(self.metrics)["c2c_calls ended"] == 1
        self.store.release()
        self.clock.advance(5)
        after = told(self.metrics)
        assert "c2c_calls ended" not in after
        assert after["c2c_requests_total first_busy"] == 1

    def test_a_mistake(self) -> None:
        """An observer that fails is logged, and the call goes on."""
        broken = Metrics(Sample)
        broken.call_changed = mock.Mock(  # type: ignore[method-assign]
            side_effect=RuntimeError("a mistake")
        )
        self.observe(broken)
        with capturedLogs() as logged:
            self.desk.submit(request_id=uuid(1))
            self.driver.tells(uuid(1), OriginateAccepted(), BUSY)
        kept = self.store.kept(uuid(1))
        assert kept is not None
        assert kept.outcome is Outcome.FIRST_BUSY
        assert any(event.get("log_failure") for event in logged)
        assert self.flushLoggedErrors(RuntimeError)

    def test_nobody(self) -> None:
        """Without an observer, nothing is announced."""
        desk = self.desk
        dispatcher = Dispatcher(
            clock=desk.clock,
            now=lambda: EPOCH,
            wall=lambda: EPOCH,
            store=desk.store,
            drivers=desk.drivers,
            meter=desk.meter,
        )
        dispatcher.apply(dispatcher.begin(a_call()), Reject((FAULT,)))
        assert told(self.metrics) == {}


class TheLoop(SynchronousTestCase):
    """By how much the event loop is late."""

    def setUp(self) -> None:
        """Begin to measure."""
        self.clock = Clock()
        self.clock.advance(100.25)
        self.delays: list[float] = []
        self.watch = LoopWatch(self.clock, self.delays.append)
        self.watch.startService()

    def tearDown(self) -> None:
        """No timer is left."""
        self.watch.stopService()
        assert self.clock.getDelayedCalls() == []

    def test_in_time(self) -> None:
        """A measurement each second, of nothing."""
        self.clock.pump([0.5] * 6)
        assert self.delays == [0, 0, 0]

    def test_late(self) -> None:
        """The turn that was due first says it; those that were missed meanwhile say nothing."""
        self.clock.advance(3.25)
        assert self.delays == [2.25]
        self.clock.advance(0.75)
        self.clock.advance(1.5)
        assert self.delays == [2.25, 0, 0.5]

    def test_stopped(self) -> None:
        """Nothing is measured any more; stopping twice does no harm."""
        self.watch.stopService()
        self.clock.advance(5)
        assert self.delays == []

    def test_started_again(self) -> None:
        """The time in between does not count."""
        self.watch.stopService()
        self.clock.advance(50)
        self.watch.startService()
        self.clock.advance(1)
        assert self.delays == [0]


class Documents(SynchronousTestCase):
    """The dashboard and the alert rules that are shipped."""

    def test_what_they_ask_for(self) -> None:
        """They ask for nothing that there is not, in words that YAML and JSON can be read from."""
        metrics = Metrics(
            lambda: Sample(
                pbxs=[PbxSample("asterisk", "asterisk", up=True, reconnects=0)],
                agi=AgiSample(0, {"too_many": 0}),
                outbox={"crm": OutboxSample(0, 0, 0.0)},
            )
        )
        for leg in Leg:
            metrics._leg_ended(leg, LegEvidence(status="ANSWER"))
        there = {
            sample.name
            for family in text_string_to_metric_families(metrics.expose().content.decode())
            for sample in family.samples
        }
        rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
        asked = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
        dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
        asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        assert len(asked) > 15
        assert {name for text in asked for name in re.findall(r"c2c_\w+", text)} <= there
