"""`c2c-agent check` as a whole: every line where all is well, and every warning."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from c2c_agent.check.exposure import open_listeners
from c2c_agent.check.finding import Finding
from c2c_agent.config.pbx import (
    AgiConfig,
    AmiConfig,
    DialAsConfig,
    LegRule,
    PbxConfig,
    SecondLegRule,
)
from c2c_agent.config.sections import AmqpConfig, WebhookConfig
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch
from c2c_agent.pbx.asterisk.bridge import agi_url
from c2c_agent.pbx.asterisk.channel_id import is_of_check
from c2c_agent.policy.pattern import parse_pattern
from tests.fakes import CRM
from tests.unit.check.pbx_under_check import (
    AGI_PORT,
    AGI_URL,
    CONTEXTS,
    CheckTest,
    sockets,
    tell_an_old_version,
)


class AllIsWell(CheckTest):
    """Every check's line."""

    def test_every_line(self) -> None:
        """From the configuration round through the PBX and back."""
        assert self.check() == [
            Finding("configuration", "1 keys, server_id pbx1.example.com"),
            Finding("key crm", "may dial _1XX, _2XX"),
            Finding(
                "store", f"{self.directory / 'c2c.sqlite3'} will be made by the agent's first start"
            ),
            Finding("AMI login", "Asterisk 22.10.1 at 127.0.0.1:5038"),
            Finding("AMI rights", "originate, call, reporting"),
            *(Finding(f"context {name}", "is there") for name in CONTEXTS),
            Finding(
                "test call",
                "through the bridge context and over FastAGI to this check "
                "(the agent is not running)",
            ),
        ]

    def test_beside_the_running_agent(self) -> None:
        """Its listener is taken, and the test call comes to it."""
        self.pbx.host.taken.add(AGI_PORT)
        self.agent = f"127.0.0.1:{AGI_PORT}"
        assert self.check()[-1] == Finding(
            "test call", "through the bridge context and over FastAGI to the running agent"
        )

    def test_the_test_call_rings_nobody(self) -> None:
        """It has an id that no call can have, and goes from the dialplan into the dialplan."""
        self.check()
        rights, probe, call = self.pbx.asked
        for order in (rights, probe, call):
            assert order.get("Channel") == "Local/s@c2c-check/n"
        assert probe.get("Context") == "c2c-check"
        for order in (rights, call):
            assert is_of_check(order.get("ChannelId"))
            assert order.get("Context") == "c2c-bridge"
        assert call.get("Variable") == f"C2C_AGI={AGI_URL}"

    def test_without_an_asterisk(self) -> None:
        """Then there is no more to check."""
        self.config = evolve(self.config, asterisk=None)
        assert [finding.name for finding in self.check()] == ["configuration", "key crm", "store"]
        assert self.pbx.host.journal == []

    def test_several_asterisks(self) -> None:
        """Each is gone round, and each line says of which it is; so does what keys lack."""
        asterisk = self.config.asterisk
        assert asterisk is not None
        south = evolve(asterisk, first_leg=[LegRule(parse_pattern("_X."), "PJSIP/{number}")])
        pbxs = {"north": PbxConfig(asterisk=asterisk), "south": PbxConfig(asterisk=south)}
        key = evolve(CRM, pbx={"asterisk": "north"})
        shop = evolve(CRM, name="shop", sha256="0" * 64)
        self.config = evolve(self.config, asterisk=None, pbxs=pbxs, keys=[key, shop])
        found = {finding.name: finding for finding in self.check()}
        for name in ("north", "south"):
            assert found[f"PBX {name}: AMI login"].message == "Asterisk 22.10.1 at 127.0.0.1:5038"
            assert not found[f"PBX {name}: test call"].failed
        assert "PBX north: asterisk.first_leg" not in found
        assert found["PBX south: asterisk.first_leg"].warning
        assert not found["key crm"].failed
        assert found["key shop"].failed
        assert found["key shop"].message == (
            "names no PBX, and there are several of the kind asterisk."
        )

    def test_contexts_that_the_configuration_names(self) -> None:
        """Each once; those that are only known when a call is made are not asked for."""
        anything = parse_pattern("_X.")
        channels = (
            "Local/{number}@c2c-bridge/n",
            "Local/{number}@outbound",
            "PJSIP/{number}@trunk",
            "Local/{number}@{context}/n",
            "Local/{number}",
        )
        self.configure(
            first_leg=[LegRule(anything, channel) for channel in channels],
            dial_as=DialAsConfig({"100": "sales", "101": "sales"}, "everybody"),
        )
        self.pbx.contexts |= {"outbound", "sales", "everybody"}
        asked = [finding.name for finding in self.check() if finding.name.startswith("context")]
        assert asked == [
            f"context {name}" for name in (*CONTEXTS[:-1], "outbound", "sales", "everybody")
        ]

    def test_a_context_that_leads_to_the_users(self) -> None:
        """What the second leg would lose in those is told, too."""
        channel = "Local/{number}@c2c-no-voicemail"
        self.configure(
            second_leg=[SecondLegRule(parse_pattern("_X."), channel)],
            dial_as=DialAsConfig({"100": "sales"}),
        )
        self.pbx.contexts |= {"c2c-no-voicemail", "sales"}
        self.pbx.sets["sales"] = "TIMEOUT(absolute)=60"
        [found] = [finding for finding in self.check() if finding.name == "context sales"]
        assert "TIMEOUT(absolute)" in found.message

    def test_contexts_of_the_devices(self) -> None:
        """They are looked at, too: what the second leg would lose there is told."""
        self.pbx.devices = ["PJSIP/100", "PJSIP/101", "Local/x@y", "Custom:dnd"]
        self.pbx.contexts.add("sales")
        self.pbx.sets["sales"] = "TIMEOUT(absolute)=60"
        [found] = [finding for finding in self.check() if finding.name == "context sales"]
        assert found.warning
        assert found.message.startswith("loses its limit, TIMEOUT(absolute)")
        assert "optimize: false" in found.advice

    def test_contexts_of_devices_that_are_kept(self) -> None:
        """Where the Local channel stays, nothing is lost."""
        self.pbx.devices = ["PJSIP/100"]
        self.pbx.contexts.add("sales")
        self.pbx.sets["sales"] = "TIMEOUT(absolute)=60"
        rule = SecondLegRule(parse_pattern("_X."), "Local/{number}@{context}", optimize=False)
        self.configure(second_leg=[rule])
        [found] = [finding for finding in self.check() if finding.name == "context sales"]
        assert not found.warning

    def test_json(self) -> None:
        """Every finding says for itself whether it is well."""
        assert Finding("store", "can be written").as_dict() == {
            "ok": True,
            "name": "store",
            "message": "can be written",
            "advice": "",
            "warning": False,
        }
        assert Finding("store", "no", "Do this.").as_dict()["ok"] is False


class Exposed(CheckTest):
    """What is open wider than it has to be: told, but the check goes on and is passed."""

    def warned(self) -> list[str]:
        """The names of the warnings; nothing has failed."""
        findings = self.check()
        assert not [finding for finding in findings if finding.failed]
        assert findings[-1].name == "test call"
        return [finding.name for finding in findings if finding.warning]

    def test_secrets_of_others(self) -> None:
        """Every file with a secret in it is looked at, not only that of AMI."""
        names = ("amqp.password", "crm.whsec")
        files = [self.directory / name for name in names]
        for file in files:
            file.write_text("whsec_" + "A" * 32 + "\n")
            file.chmod(0o644)
        self.config = evolve(
            self.config,
            amqp=AmqpConfig(host="192.0.2.1", password_file=str(files[0])),
            webhooks=[WebhookConfig("crm", "https://crm.example.com", str(files[1]))],
        )
        assert self.warned() == [f"file {file}" for file in files]

    def test_a_first_leg_that_leaves_no_result(self) -> None:
        """A context of an earlier version, or of one's own, without the hangup handler."""
        self.pbx.application = "PJSIP/100,,i"
        assert self.warned() == ["context c2c-first"]

    def test_all_at_once(self) -> None:
        """Each finds its way into the report."""
        self.secret.chmod(0o644)
        self.pbx.extensions = ["s", "_."]
        self.pbx.rights = ["Originate", "Command"]
        everything = evolve(CRM, allow=(parse_pattern("_."),))
        self.config = evolve(self.config, keys=[everything])
        self.configure(
            ami=AmiConfig(host="192.0.2.1", username="c2c-agent", secret_file=str(self.secret))
        )
        assert self.warned() == [
            "key crm",
            f"file {self.secret}",
            "AMI link",
            "AMI rights",
            *(f"context {name}" for name in CONTEXTS),
        ]

    def test_listening_to_others(self) -> None:
        """AMI and FastAGI, which only this host uses."""
        self.sockets = [sockets("00000000:13AE", "0A00000A:211B"), sockets("0" * 32 + ":13AE")]
        ami, agi = [finding for finding in self.check() if finding.warning]
        assert (ami.name, ami.failed) == ("AMI address", False)
        assert ami.message == "it listens on 0.0.0.0, ::, not only on 127.0.0.1"
        assert "bindaddr = 127.0.0.1" in ami.advice
        assert agi.message == "it listens on 10.0.0.10, not only on 127.0.0.1"
        assert "asterisk.agi.listen" in agi.advice

    def test_listening_to_others_on_purpose(self) -> None:
        """AMI by TLS, and FastAGI for an Asterisk elsewhere."""
        self.sockets = [sockets("00000000:13AE", "00000000:211B")]
        assert self.config.asterisk is not None
        self.configure(
            ami=evolve(self.config.asterisk.ami, tls=True),
            agi=AgiConfig(url=f"agi://192.0.2.7:{AGI_PORT}/c2c"),
        )
        asterisk = self.config.asterisk
        assert list(open_listeners(asterisk.ami, agi_url(asterisk.agi), self.sockets)) == []

    def test_an_old_asterisk(self) -> None:
        """Its version, as it says it itself."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action["CoreSettings"] = tell_an_old_version
        assert self.warned() == ["Asterisk's version"]

    def test_a_name_that_begins_as_our_ids_do(self) -> None:
        """What Asterisk puts before the ids that it makes."""
        self.pbx.system_name = "c2c-pbx1"
        assert self.warned() == ["systemname"]

    def test_calls_are_stopped(self) -> None:
        """Somebody has turned the kill switch, and everything else is well."""
        StopSwitch(Path(self.config.store.file).parent).stop(Stopped("a key was stolen"))
        [found] = [finding for finding in self.check() if finding.warning]
        assert (found.name, found.message) == ("kill switch", "calls are stopped: a key was stolen")
        assert "start-calls" in found.advice

    def test_a_first_leg_that_forwards(self) -> None:
        """A phone that Originate rings may send the call anywhere."""
        self.configure(first_leg=(LegRule(parse_pattern("_X."), "PJSIP/{number}"),))
        assert self.warned() == ["asterisk.first_leg"]
