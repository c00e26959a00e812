"""How the agent goes: whether it is ready, what is counted at a scrape, what systemd is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from c2c_agent.agi.protocol import Refusal
from c2c_agent.amqp.link import AmqpLink
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.kill_switch import StopSwitch
from c2c_agent.host.sd_notify import Supervisor
from c2c_agent.pbx.other.driver import OtherDriver
from c2c_agent.pbx.switchvox.driver import SwitchvoxDriver
from c2c_agent.report.live import Live
from c2c_agent.report.metrics import AgiSample, AmiSample, OutboxSample, Sample
from c2c_agent.report.outbox import Outbox
from c2c_agent.service.drivers import AsteriskParts
from c2c_agent.store.sql_store import SqlStore


class Health:
    """What others may ask of the parts, and what the supervisor hears by itself.

    `asterisk`, `other`, `switchvox` and `broker` are None where the agent has none. `now` is the
    steady clock's.
    """

    def __init__(
        self,
        *,
        store: SqlStore,
        switch: StopSwitch,
        dispatcher: Dispatcher,
        outbox: Outbox,
        live: Live,
        asterisk: AsteriskParts | None,
        other: OtherDriver | None = None,
        switchvox: SwitchvoxDriver | None = None,
        broker: AmqpLink | None,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._switch = switch
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._live = live
        self._asterisk = asterisk
        self._other = other
        self._switchvox = switchvox
        self._broker = broker
        self._now = now
        self._supervisor: Supervisor | None = None
        self._link_tried = False
        if asterisk is not None:
            asterisk.link.changed = self._link_changed

    def readiness(self) -> Mapping[str, str | None]:
        """Of each part, why it is not ready; None where it is."""
        stopped = self._switch.state()
        parts = {
            "store": self._store.last_error,
            "calls": None if stopped is None else str(stopped),
        }
        if self._asterisk is not None:
            link = self._asterisk.link
            down = None if link.is_up else link.last_error or "not connected yet"
            parts["ami"] = down or link.refusal or None
        if self._other is not None:
            parts["other"] = self._other.last_error or None
        if self._switchvox is not None:
            parts["switchvox"] = self._switchvox.last_error or None
        if self._broker is not None:
            parts["amqp"] = self._broker.last_error or None
        return parts

    def sample(self) -> Sample:
        """What the metrics ask for at each scrape."""
        return Sample(
            calls=self._dispatcher.states,
            streams=self._live.open,
            streams_cut=self._live.cut,
            stopped=self._switch.state() is not None,
            outbox={
                target: OutboxSample(depth.waiting, depth.dead, self._age(depth.oldest_at))
                for target, depth in self._outbox.depths.items()
            },
            ami=self._ami_sample(),
            agi=self._agi_sample(),
            switchvox=None if self._switchvox is None else self._switchvox.is_up,
        )

    def _ami_sample(self) -> AmiSample | None:
        if self._asterisk is None:
            return None
        link = self._asterisk.link
        return AmiSample(link.is_up, link.reconnects)

    def _agi_sample(self) -> AgiSample | None:
        if self._asterisk is None:
            return None
        agi = self._asterisk.agi
        return AgiSample(agi.open_sessions, {why.value: agi.refusals[why] for why in Refusal})

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._now() - since)

    def tell(self, supervisor: Supervisor) -> None:
        """Everything is started: tell from now on how it goes, as soon as the PBX was tried."""
        self._supervisor = supervisor
        self._tell()

    def tell_no_more(self) -> None:
        """Everything ends now, and how the links go is of no interest any more."""
        self._supervisor = None

    def _link_changed(self) -> None:
        self._link_tried = True
        self._tell()

    def _tell(self) -> None:
        supervisor, asterisk = self._supervisor, self._asterisk
        if supervisor is None or (asterisk is not None and not self._link_tried):
            return
        if asterisk is None and self._other is not None:
            supervisor.ready("Calls go to a PBX over HTTP")
        elif asterisk is None and self._switchvox is not None:
            supervisor.ready("Calls go to a Switchvox")
        elif asterisk is None:
            supervisor.ready("No PBX is configured")
        elif asterisk.link.is_up:
            supervisor.ready(f"AMI link up: Asterisk {asterisk.link.asterisk_version}")
        else:
            supervisor.ready(f"No AMI link, trying again: {asterisk.link.last_error}")
