"""How the agent goes: whether it is ready, what is counted at a scrape, what systemd is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from c2c_agent.agi.protocol import Refusal
from c2c_agent.ami.link import AmiLink
from c2c_agent.amqp.link import AmqpLink
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.kill_switch import StopSwitch
from c2c_agent.host.sd_notify import Supervisor
from c2c_agent.policy.meter import Meter
from c2c_agent.report.live import Live
from c2c_agent.report.metrics import AgiSample, OutboxSample, PbxSample, Sample
from c2c_agent.report.outbox import Outbox
from c2c_agent.service.pbxs import Pbxs
from c2c_agent.store.sql_store import SqlStore

#: What the PBXs that have a section by themselves are called among the parts.
_PARTS: Final[Mapping[str, str]] = {
    "asterisk": "ami",
    "switchvox": "switchvox",
    "other": "other",
}


class Health:
    """What others may ask of the parts, and what the supervisor hears by itself.

    `broker` is None where the agent has none. `now` is the steady clock's.
    """

    def __init__(
        self,
        *,
        store: SqlStore,
        switch: StopSwitch,
        dispatcher: Dispatcher,
        outbox: Outbox,
        live: Live,
        pbxs: Pbxs,
        meter: Meter,
        broker: AmqpLink | None,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._switch = switch
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._live = live
        self._pbxs = pbxs
        self._meter = meter
        self._broker = broker
        self._now = now
        self._supervisor: Supervisor | None = None
        self._untried = set(pbxs.asterisks)  # whose links neither came up nor failed so far
        for name, asterisk in pbxs.asterisks.items():
            asterisk.link.changed = partial(self._link_changed, name)

    def readiness(self) -> Mapping[str, str | None]:
        """Of each part, why it is not ready; None where it is."""
        stopped = self._switch.state()
        parts = {
            "store": self._store.last_error,
            "calls": None if stopped is None else str(stopped),
        }
        for name, reason in self._reasons().items():
            parts[_PARTS.get(name, f"pbx {name}")] = reason
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
            pbxs=[self._pbx_sample(name) for name in self._reasons()],
            agi=self._agi_sample(),
        )

    def _reasons(self) -> Mapping[str, str | None]:
        """Of each PBX, why it takes no calls; None where it does."""
        links = {name: asterisk.link for name, asterisk in self._pbxs.asterisks.items()}
        asked = {name: pbx.driver for name, pbx in self._pbxs.asked.items()}
        return {
            **{name: _unready(link) for name, link in links.items()},
            **{name: driver.last_error or None for name, driver in asked.items()},
        }

    def _pbx_sample(self, name: str) -> PbxSample:
        asterisk = self._pbxs.asterisks.get(name)
        return PbxSample(
            name,
            self._pbxs.kinds[name],
            up=self._pbxs.asked[name].driver.is_up if asterisk is None else asterisk.link.is_up,
            calls=self._meter.running_on(name),
            reconnects=None if asterisk is None else asterisk.link.reconnects,
        )

    def _agi_sample(self) -> AgiSample | None:
        factories = [fastagi.agi for fastagi in self._pbxs.fastagi.values()]
        if not factories:
            return None
        return AgiSample(
            sum(agi.open_sessions for agi in factories),
            {why.value: sum(agi.refusals[why] for agi in factories) for why in Refusal},
        )

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._now() - since)

    def tell(self, supervisor: Supervisor) -> None:
        """Everything is started: tell from now on how it goes, as soon as the PBX was tried."""
        self._supervisor = supervisor
        self._tell()

    def tell_no_more(self) -> None:
        """Everything ends now, and how the links go is of no interest any more."""
        self._supervisor = None

    def _link_changed(self, name: str) -> None:
        self._untried.discard(name)
        self._tell()

    def _tell(self) -> None:
        if self._supervisor is not None and not self._untried:
            self._supervisor.ready(self._summary())

    def _summary(self) -> str:
        """How the PBXs can be reached, in a line."""
        reasons = self._reasons()
        if len(reasons) > 1:
            links = {name: asterisk.link for name, asterisk in self._pbxs.asterisks.items()}
            away = [name for name, link in links.items() if not link.is_up]
            trying = f"; no AMI link, trying again: {', '.join(away)}" if away else ""
            return f"Calls go to {len(reasons)} PBXs{trying}"
        for asterisk in self._pbxs.asterisks.values():
            link = asterisk.link
            if link.is_up:
                return f"AMI link up: Asterisk {link.asterisk_version}"
            return f"No AMI link, trying again: {link.last_error}"
        for name in self._pbxs.asked:
            where = "Switchvox" if self._pbxs.kinds[name] == "switchvox" else "PBX over HTTP"
            return f"Calls go to a {where}"
        return "No PBX is configured"


def _unready(link: AmiLink) -> str | None:
    """Why an Asterisk takes no calls; None where it does."""
    if not link.is_up:
        return link.last_error or "not connected yet"
    return link.refusal or None
