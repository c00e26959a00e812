"""What the agent tells Prometheus: what became of calls, how long it took, and how its parts are.

What happens to a call is counted when the dispatcher announces it (`Metrics.call_changed`); what is
so at present is asked for at each scrape (`Sample`). The registry is our own, so that agents in one
process, as in tests, have nothing in common. Labels have few values, and none of a caller's: no
number, no key, no id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import field, frozen
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.evidence import Leg, LegEvidence
from c2c_agent.call.outcome import Outcome, UnknownReason

#: Asterisk's dial statuses. What else a PBX may say is counted as `_OTHER`: labels are bounded.
_DIAL_STATUSES: Final = frozenset(
    [
        "ANSWER",
        "BUSY",
        "CANCEL",
        "CHANUNAVAIL",
        "CONGESTION",
        "DONTCALL",
        "INVALIDARGS",
        "NOANSWER",
        "TORTURE",
    ]
)
_OTHER: Final = "other"

#: For `by`, where nothing had a leg's last word, or the PBX does not tell what had.
_NOBODY_KNOWS: Final = "unknown"

#: Seconds, from a phone that rings at once to the longest ringing that may be configured.
_CALL_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 240)
_DELAY_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

#: Seconds between two measurements of the event loop's delay.
_TICK: Final = 1.0


@frozen
class PbxSample:
    """One PBX, as it is now: whether it can be reached, and the calls in progress on it.

    `reconnects` of its AMI link; None: it has none.
    """

    name: str
    kind: str
    up: bool
    calls: int = 0
    reconnects: int | None = None


@frozen
class AgiSample:
    """The FastAGI listener, as it is now; `refusals` by their reason, also those with none."""

    open_sessions: int
    refusals: Mapping[str, int]


@frozen
class OutboxSample:
    """The reports for one target: those that wait, those given up, the age of the oldest."""

    waiting: int
    dead: int
    oldest_seconds: float


@frozen
class Sample:
    """What is asked for at each scrape. `agi` is None in an agent without Asterisk."""

    calls: Mapping[CallState, int] = field(factory=dict)
    pbxs: Sequence[PbxSample] = ()
    agi: AgiSample | None = None
    outbox: Mapping[str, OutboxSample] = field(factory=dict)  # by target
    streams: int = 0  # of live events
    streams_cut: int = 0  # because their readers were too slow
    stopped: bool = False  # by the kill switch


@frozen
class Exposition:
    """The metrics as Prometheus reads them: content type, and what is of that type."""

    content_type: str
    content: bytes


class Metrics:
    """All metrics of one agent. It is the `CallObserver` of the dispatcher."""

    def __init__(self, sample: Callable[[], Sample]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Sampled(sample))
        self._requests = Counter(
            "c2c_requests",
            "Requests that have ended, by outcome.",
            ["outcome"],
            registry=self._registry,
        )
        self._lost = Counter(
            "c2c_lost_calls",
            "Calls whose outcome is unknown because something was missed.",
            registry=self._registry,
        )
        self._legs = Counter(
            "c2c_legs",
            "Legs of ended calls by the dial status that the PBX told, and by what gave it.",
            ["leg", "status", "by"],
            registry=self._registry,
        )
        ring = Histogram(
            "c2c_ring_seconds",
            "Seconds from dialling a leg until it rang.",
            ["leg"],
            buckets=_CALL_BUCKETS,
            registry=self._registry,
        )
        answer = Histogram(
            "c2c_answer_seconds",
            "Seconds from dialling a leg until it was answered.",
            ["leg"],
            buckets=_CALL_BUCKETS,
            registry=self._registry,
        )
        self._connect = Histogram(
            "c2c_connect_seconds",
            "Seconds from receiving a request until both talked.",
            buckets=_CALL_BUCKETS,
            registry=self._registry,
        )
        self._delay = Histogram(
            "c2c_event_loop_delay_seconds",
            "Seconds by which a timer of the event loop was late, measured once a second.",
            buckets=_DELAY_BUCKETS,
            registry=self._registry,
        )
        # A series that begins with its first event hides that event from rate().
        for outcome in Outcome:
            self._requests.labels(outcome.value)
        self._ring_of = {leg: ring.labels(leg.value) for leg in Leg}
        self._answer_of = {leg: answer.labels(leg.value) for leg in Leg}

    def expose(self) -> Exposition:
        """All of them, as they are now."""
        return Exposition(CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry))

    def call_changed(self, before: Call, after: Call) -> None:
        """Count what has come to be known of a call."""
        first_dialed = after.pbx_request.at if after.pbx_request is not None else None
        self._leg_changed(Leg.FIRST, first_dialed, before.first, after.first)
        self._leg_changed(Leg.SECOND, after.dialed_at, before.second, after.second)
        answered_before, answered = before.second.answered_at, after.second.answered_at
        self._took(self._connect, after.received.at, answered_before, answered)
        if after.outcome is not None and before.outcome is None:
            self._requests.labels(after.outcome.value).inc()
            if after.reason is UnknownReason.LOST:
                self._lost.inc()
            self._leg_ended(Leg.FIRST, after.first)
            self._leg_ended(Leg.SECOND, after.second)

    def loop_delayed(self, seconds: float) -> None:
        """Count a measurement of the event loop's delay."""
        self._delay.observe(seconds)

    def _leg_changed(
        self, leg: Leg, dialed_at: float | None, before: LegEvidence, after: LegEvidence
    ) -> None:
        if after is not before:
            self._took(self._ring_of[leg], dialed_at, before.ringing_at, after.ringing_at)
            self._took(self._answer_of[leg], dialed_at, before.answered_at, after.answered_at)

    def _took(
        self, histogram: Histogram, begun: float | None, before: float | None, after: float | None
    ) -> None:
        """Count a duration when its end becomes known: once, for what is known stays so."""
        if begun is not None and before is None and after is not None:
            histogram.observe(max(0.0, after - begun))

    def _leg_ended(self, leg: Leg, evidence: LegEvidence) -> None:
        if evidence.status is not None:
            status = evidence.status if evidence.status in _DIAL_STATUSES else _OTHER
            by = _NOBODY_KNOWS if evidence.by is None else evidence.by.value
            self._legs.labels(leg.value, status, by).inc()


class _Sampled(Collector):
    """The metrics of what is so at present."""

    def __init__(self, sample: Callable[[], Sample]) -> None:
        self._sample = sample

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that nothing is asked for before the first scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Ask, and tell."""
        sample = self._sample()
        calls = GaugeMetricFamily(
            "c2c_calls",
            "Calls in each state; an ended one only until its end is stored.",
            labels=["state"],
        )
        for state in CallState:
            calls.add_metric([state.value], sample.calls.get(state, 0))
        yield calls
        yield GaugeMetricFamily(
            "c2c_calls_stopped",
            "Whether the operator has stopped all calls.",
            float(sample.stopped),
        )
        yield from _outbox(sample.outbox)
        yield GaugeMetricFamily(
            "c2c_event_streams", "Streams of live events that are open.", value=sample.streams
        )
        yield CounterMetricFamily(
            "c2c_event_streams_cut",
            "Streams of live events that were cut, for their readers were too slow.",
            value=sample.streams_cut,
        )
        if sample.pbxs:
            yield from _pbxs(sample.pbxs)
        if sample.agi is not None:
            yield GaugeMetricFamily(
                "c2c_agi_sessions", "FastAGI sessions that are open.", sample.agi.open_sessions
            )
            refused = CounterMetricFamily(
                "c2c_agi_refused",
                "FastAGI connections that were turned away or cut, by reason.",
                labels=["reason"],
            )
            for reason, count in sample.agi.refusals.items():
                refused.add_metric([reason], count)
            yield refused


def _pbxs(samples: Sequence[PbxSample]) -> Iterable[Metric]:
    """How the PBXs can be reached, and how many calls are in progress on each.

    The AMI link of the section `asterisk` has no label, as version 0.1 told of it.
    """
    up = GaugeMetricFamily(
        "c2c_pbx_up",
        "Whether the PBX can be reached, by its kind and its name.",
        labels=["kind", "pbx"],
    )
    calls = GaugeMetricFamily(
        "c2c_pbx_calls", "Calls in progress on the PBX.", labels=["kind", "pbx"]
    )
    ami_up = GaugeMetricFamily(
        "c2c_ami_up", "Whether the AMI link is up, by the name of its PBX where that has one."
    )
    reconnects = CounterMetricFamily(
        "c2c_ami_reconnects", "AMI links that came up after the first."
    )
    for one in samples:
        up.add_metric([one.kind, one.name], float(one.up))
        calls.add_metric([one.kind, one.name], one.calls)
        if one.reconnects is not None:
            label = {} if one.name == one.kind else {"pbx": one.name}
            ami_up.add_sample("c2c_ami_up", label, float(one.up))
            reconnects.add_sample("c2c_ami_reconnects_total", label, one.reconnects)
    yield from (up, calls)
    yield from (family for family in (ami_up, reconnects) if family.samples)


def _outbox(targets: Mapping[str, OutboxSample]) -> Iterable[Metric]:
    """How the reports to each target go; counted every ten seconds."""
    waiting = GaugeMetricFamily(
        "c2c_outbox_waiting", "Reports that wait to be delivered, by target.", labels=["target"]
    )
    dead = GaugeMetricFamily(
        "c2c_outbox_dead", "Reports that were given up, until they are replayed.", labels=["target"]
    )
    oldest = GaugeMetricFamily(
        "c2c_outbox_oldest_seconds", "For how long the oldest report waits.", labels=["target"]
    )
    for target, sample in targets.items():
        waiting.add_metric([target], sample.waiting)
        dead.add_metric([target], sample.dead)
        oldest.add_metric([target], sample.oldest_seconds)
    return (waiting, dead, oldest)


class LoopWatch(Service):
    """Measures once a second by how much the event loop is late, and tells it."""

    def __init__(self, clock: IReactorTime, delayed: Callable[[float], None]) -> None:
        self._clock = clock
        self._delayed = delayed
        self._due = 0.0
        self._loop = LoopingCall.withCount(self._measure)
        self._loop.clock = clock

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to measure."""
        super().startService()
        self._due = self._clock.seconds()
        self._loop.start(_TICK, now=False)

    def stopService(self) -> None:  # noqa: N802 - the same
        """Leave no timer behind."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    def _measure(self, turns: int) -> None:
        """Take the delay of the turn that was due first; those missed after it are left out."""
        first = self._due + _TICK
        self._due += turns * _TICK
        self._delayed(max(0.0, self._clock.seconds() - first))
