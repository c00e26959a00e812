"""`c2c-agent check`: what each check says where all is well, and what to do where it is not."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.ami.message import Message
from c2c_agent.check.finding import Finding
from c2c_agent.check.way_round import open_listeners, run
from c2c_agent.config.pbx import AgiConfig, AmiConfig, AsteriskConfig, DialAsConfig, LegRule
from c2c_agent.config.sections import AmqpConfig, Config, StoreConfig, WebhookConfig
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch
from c2c_agent.errors import StoreError
from c2c_agent.pbx.asterisk.driver import CHECK_PREFIX
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.setup import apply as setup_files
from c2c_agent.store.sqlite.store import Store
from tests.fakes import CRM, SHOP
from tests.memory_host import MemoryHost
from tests.unit.agi.playbook import Playbook
from tests.unit.ami.fake_asterisk import (
    FakeAsterisk,
    FakeSession,
    refuse_login,
    say_nothing,
)

AGI_PORT = 4573
AGI_URL = "agi://127.0.0.1:4573/c2c"

#: The contexts that a configuration without any changes runs through.
CONTEXTS = (
    "c2c-bridge",
    "c2c-answered",
    "c2c-auto-answer",
    "c2c-confirm",
    "c2c-result",
    "c2c-first-result",
    "c2c-check",
    "c2c-first",
)


def tell_an_old_version(session: FakeSession, action: Message) -> None:
    """Answer CoreSettings."""
    session.answers(action, AsteriskVersion="16.28.0")


def sockets(*local: str) -> str:
    """A table of the kernel's in which somebody listens at each of these places."""
    return "\n".join(["sl local", *(f"0: {place} 00000000:0000 0A" for place in local)])


class PbxUnderCheck:
    """A healthy Asterisk with the dialplan as it is shipped; a test takes something away."""

    def __init__(self) -> None:
        self.host = MemoryHost(FakeAsterisk(None))
        self.contexts = {*CONTEXTS}
        self.extensions = ["s"]  # of each context
        self.application = "CHANNEL(hangup_handler_push)=c2c-first-result,s,1"  # that they run
        self.rights = ["Originate", "Hangup"]  # actions that the AMI user may send, among others
        self.denied: set[str] = set()  # actions that the AMI user has no right to
        self.cause = "27"  # with which the test call ends; None: nothing is heard of it
        self.comes_round = True
        self.filters = True  # whether AMI tells of the agent's calls alone
        self.probe: str | None = "1"  # the variable that the probe has; None: it has no channel
        self.hung_up: list[str] = []
        self.asked: list[Message] = []  # the orders
        self.actions: dict[str, Any] = {
            "ShowDialPlan": self.show_dialplan,
            "Originate": self.originate,
            "Getvar": self.getvar,
            "Hangup": self.hangup,
            "ListCommands": self.list_commands,
        }
        assert self.host.asterisk is not None
        self.host.asterisk.on_action.update(self.actions)

    def refuses(self, session: FakeSession, action: Message) -> bool:
        """Refuse an action that is not allowed."""
        denied = action.get("Action") in self.denied
        if denied:
            session.answers(action, "Error", Message="Permission denied")
        return denied

    def show_dialplan(self, session: FakeSession, action: Message) -> None:
        """List a context, or say that there is none."""
        context = action.get("Context")
        if context not in self.contexts:
            message = f"Did not find context {context}"
            session.answers(action, "Error", Message=message)
            return
        session.answers(action, EventList="start", Message="DialPlan list will follow")
        for extension in self.extensions:
            session.sends(
                Event="ListDialplan",
                ActionID=action.action_id,
                Context=context,
                Extension=extension,
                AppData=self.application,
            )
        session.sends(Event="ShowDialPlanComplete", ActionID=action.action_id, EventList="Complete")

    def getvar(self, session: FakeSession, action: Message) -> None:
        """Tell the time, or the variable of a channel."""
        if self.refuses(session, action):
            return
        if not action.get("Channel"):
            session.answers(action, Value="1435628937")
        elif self.probe is None:
            session.answers(action, "Error", Message="No such channel")
        else:
            session.answers(action, Value=self.probe)

    def hangup(self, session: FakeSession, action: Message) -> None:
        """End the probe."""
        self.hung_up.append(action.get("Channel"))
        session.answers(action)

    def list_commands(self, session: FakeSession, action: Message) -> None:
        """List what this user may send, each action as a header."""
        session.answers(action, **dict.fromkeys(self.rights, "What it does. (Priv: all)"))

    def originate(self, session: FakeSession, action: Message) -> None:
        """Take the test call, or say that there is no such extension."""
        self.asked.append(action)
        if self.refuses(session, action):
            return
        if action.get("Exten") == "c2c-no-such-extension":
            session.answers(action, "Error", Message="Extension does not exist.")
            return
        session.answers(action, Message="Originate successfully queued")
        uniqueid = action.get("ChannelId")
        if action.get("Context") == "c2c-check":
            if not self.filters:
                session.sends(Event="Newchannel", Uniqueid=uniqueid)
            return
        if self.comes_round and self.host.journal[-1] == f"listen {AGI_PORT}":
            self.run_dialplan(uniqueid)
        if self.cause:
            session.sends(Event="Hangup", Uniqueid="c2c-another", Cause="16")
            session.sends(Event="Newstate", Uniqueid=uniqueid)
            session.sends(Event="Hangup", Uniqueid=uniqueid, Cause=self.cause)
            session.sends(Event="Hangup", Uniqueid=uniqueid, Cause="16")

    def run_dialplan(self, uniqueid: str) -> None:
        """Come to the check's own FastAGI listener; a stranger comes there, too."""
        self.agi(
            "c2c-check-a-strangers",
            """
            = closed
            """,
        )
        self.agi(
            uniqueid,
            """
            > SET VARIABLE "C2C_DONE" "1"
            200 result=1
            > EXEC "Hangup" "27"
            200 result=0
            = closed
            """,
        )

    def agi(self, uniqueid: str, dialogue: str) -> None:
        """Play a FastAGI session of this channel."""
        environment = f"""
            agi_network: yes
            agi_network_script: c2c
            agi_channel: Local/s@c2c-check-00000001;2
            agi_uniqueid: {uniqueid}
            """
        Playbook(self.host.factory(AGI_PORT), self.host).play(environment.rstrip(" ") + dialogue)


class CheckTest(SynchronousTestCase):
    """A configuration and its PBX, in memory but for the store and the secret's file."""

    def setUp(self) -> None:
        """Make a configuration with which all is well."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.secret = self.directory / "ami.secret"
        self.secret.write_text("hush\n")
        self.secret.chmod(0o640)
        self.pbx = PbxUnderCheck()
        self.sockets = [sockets("0100007F:13AE", "0100007F:11DD")]
        self.config = Config(
            server_id="pbx1.example.com",
            store=StoreConfig(path=str(self.directory / "c2c.sqlite3")),
            asterisk=AsteriskConfig(ami=AmiConfig(secret_file=str(self.secret))),
            keys=[CRM],
        )

    def tearDown(self) -> None:
        """Whatever was found, nothing is left: no session, no listener, no timer."""
        host = self.pbx.host
        assert host.asterisk is not None
        host.turn(5)
        assert not host.asterisk.open
        assert host.getDelayedCalls() == []
        assert host.journal.count(f"listen {AGI_PORT}") == host.journal.count(f"close {AGI_PORT}")

    def configure(self, **changes: Any) -> None:
        """Change the section `asterisk`."""
        assert self.config.asterisk is not None
        self.config = evolve(self.config, asterisk=evolve(self.config.asterisk, **changes))

    def check(self, seconds: int = 0) -> list[Finding]:
        """Check everything: the findings, after so many seconds."""

        async def collect() -> list[Finding]:
            return [
                finding async for finding in run(self.config, self.pbx.host, lambda: self.sockets)
            ]

        checked = Deferred.fromCoroutine(collect())
        begin = self.pbx.host.seconds()
        while not checked.called and self.pbx.host.seconds() < begin + 60:
            self.pbx.host.turn(0.05)
        findings = self.successResultOf(checked)
        assert round(self.pbx.host.seconds() - begin) == seconds
        return findings

    def failed(self, seconds: int = 0) -> Finding:
        """The one finding that failed, which was the last."""
        findings = self.check(seconds)
        [failed] = [finding for finding in findings if finding.failed]
        assert failed is findings[-1]
        assert "hush" not in repr(findings)
        return failed


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
            assert order.get("ChannelId").startswith(CHECK_PREFIX)
            assert order.get("Context") == "c2c-bridge"
        assert call.get("Variable") == f"C2C_AGI={AGI_URL}"

    def test_without_an_asterisk(self) -> None:
        """Then there is no more to check."""
        self.config = evolve(self.config, asterisk=None)
        assert [finding.name for finding in self.check()] == ["configuration", "key crm", "store"]
        assert self.pbx.host.journal == []

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
            f"context {name}" for name in (*CONTEXTS[:7], "outbound", "sales", "everybody")
        ]

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
            file.write_text("hush\n")
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
        self.sockets = [sockets("00000000:13AE", "0A00000A:11DD"), sockets("0" * 32 + ":13AE")]
        ami, agi = [finding for finding in self.check() if finding.warning]
        assert (ami.name, ami.failed) == ("AMI address", False)
        assert ami.message == "it listens on 0.0.0.0, ::, not only on 127.0.0.1"
        assert "bindaddr = 127.0.0.1" in ami.advice
        assert agi.message == "it listens on 10.0.0.10, not only on 127.0.0.1"
        assert "asterisk.agi.listen" in agi.advice

    def test_listening_to_others_on_purpose(self) -> None:
        """AMI by TLS, and FastAGI for an Asterisk elsewhere."""
        self.sockets = [sockets("00000000:13AE", "00000000:11DD")]
        assert self.config.asterisk is not None
        self.configure(
            ami=evolve(self.config.asterisk.ami, tls=True),
            agi=AgiConfig(url=f"agi://192.0.2.7:{AGI_PORT}/c2c"),
        )
        assert list(open_listeners(self.config.asterisk, self.sockets)) == []

    def test_an_old_asterisk(self) -> None:
        """Its version, as it says it itself."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action["CoreSettings"] = tell_an_old_version
        assert self.warned() == ["Asterisk's version"]

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


class Keys(CheckTest):
    """Keys with which nobody can do anything. They do not end the check."""

    def found(self) -> list[Finding]:
        """What is said of keys, of which the first has failed, and of the rest, which is well."""
        findings = self.check()
        assert [finding for finding in findings if finding.failed] == [findings[1]]
        return findings

    def test_none(self) -> None:
        """How to make one."""
        self.config = evolve(self.config, keys=[])
        found = self.found()[1]
        assert found.message == "No key is configured, so nobody can place calls."
        assert "c2c-agent key new" in found.advice

    def test_one_that_may_nothing(self) -> None:
        """As `key new` prints it: what it lacks."""
        self.config = evolve(self.config, keys=[evolve(CRM, allow=()), SHOP])
        found = self.found()
        assert found[1].name == "key crm"
        assert "`allow`" in found[1].advice
        assert found[2] == Finding("key shop", "may dial _XXX")


class TheStore(CheckTest):
    """The store's file. It does not end the check either."""

    def test_cannot_be_written(self) -> None:
        """Which directory has to be the agent's."""
        (self.directory / "file").write_text("")
        path = self.directory / "file" / "c2c.sqlite3"
        self.config = evolve(self.config, store=StoreConfig(path=str(path)))
        findings = self.check()
        [failed] = [finding for finding in findings if finding.failed]
        assert failed.name == "store"
        assert str(path) in failed.message
        assert f"Make {path.parent} a directory" in failed.advice
        assert findings[-1].name == "test call"

    def test_a_database(self) -> None:
        """Reached, and of a known schema; a file with its password that is for all to read."""
        password = self.directory / "database.password"
        password.write_text("hush")
        password.chmod(0o644)
        url = "postgresql://c2c@db.example.com/c2c"
        store = StoreConfig(url=url, password_file=str(password), directory=str(self.directory))
        self.config = evolve(self.config, store=store, asterisk=None)
        for found, message, words in (
            ((3, 3), f"{url} is reached", ""),
            ((3, 0), f"{url} is reached; its tables will be made by the first start", ""),
            ((3, 4), f"{url} is of a newer version of c2c-agent.", "Install the version"),
            (StoreError("no"), f"{url} cannot be used: no", "See that the server runs"),
        ):
            with mock.patch("c2c_agent.check.way_round.database_versions", side_effect=[found]):
                findings = self.check()
            [store_found] = [finding for finding in findings if finding.name == "store"]
            assert store_found.message == message
            assert words in (store_found.advice or "")
            assert f"file {password}" in [finding.name for finding in findings]

    def test_not_made(self) -> None:
        """A check before the first start, by root perhaps, leaves no file behind."""
        self.check()
        assert not (self.directory / "c2c.sqlite3").exists()

    def the_finding(self) -> Finding:
        """What is said of the store."""
        [found] = [finding for finding in self.check() if finding.name == "store"]
        return found

    def made(self) -> Path:
        """The store of an agent that has run."""
        path = self.directory / "c2c.sqlite3"
        reactor: Any = global_reactor
        store = Store(str(path), reactor)
        store.open()
        store.close()
        return path

    def test_left_as_it_was(self) -> None:
        """The check of an agent's store does it no harm."""
        path = self.made()
        before = path.read_bytes()
        assert self.the_finding() == Finding("store", f"{path} can be written")
        assert path.read_bytes() == before

    def test_no_store(self) -> None:
        """A file that is none is named, with SQLite's words."""
        path = self.directory / "c2c.sqlite3"
        path.write_text("This is no database. " * 100)
        found = self.the_finding()
        assert found.failed
        assert f"{path} cannot be used: file is not a database" in found.message

    def test_a_newer_one(self) -> None:
        """A store that this version does not know."""
        path = self.made()
        with closing(sqlite3.connect(path)) as store, store:
            store.execute("UPDATE schema_version SET version = 99")
        found = self.the_finding()
        assert found.failed
        assert "newer version" in found.message

    def test_of_another_user(self) -> None:
        """Who has run the agent by hand, as root, is told how to give the store back."""
        path = self.made()
        stat = os.stat_result((0o100640, 0, 0, 1, 54321, 0, 0, 0, 0, 0))
        original = Path.stat

        def of_another(file: Path, **keywords: bool) -> os.stat_result:
            return stat if file == path else original(file, **keywords)

        with mock.patch.object(Path, "stat", of_another):
            found = self.the_finding()
        assert found.failed
        assert "belongs to the user 54321" in found.message
        assert found.advice == f"chown --reference={self.directory} {path}*"


class TheProbe(CheckTest):
    """A call that rings nobody, under an id that is not the agent's."""

    def test_it_is_ended(self) -> None:
        """Nothing of it is left on the PBX."""
        self.check()
        [probe] = [order for order in self.pbx.asked if order.get("Context") == "c2c-check"]
        assert not probe.get("ChannelId").startswith("c2c-")
        assert self.pbx.hung_up == [probe.get("ChannelId")]

    def test_no_filter(self) -> None:
        """Calls work; but everybody's calls are told here."""
        self.pbx.filters = False
        findings = self.check()
        assert findings[-2].name == "test call"
        warning = findings[-1]
        assert (warning.name, warning.warning, warning.failed) == ("AMI eventfilter", True, False)
        shipped = setup_files.shipped()["manager.d/c2c-agent.conf"]
        [line] = [line for line in shipped.splitlines() if line.startswith("eventfilter")]
        assert line in warning.advice

    def test_variables_are_dropped(self) -> None:
        """An AMI user with `setvar` on an old Asterisk: no call could work."""
        self.pbx.probe = ""
        failed = self.failed(seconds=3)
        assert failed.name == "AMI user"
        assert "Take `setvar` out of manager.conf's [c2c-agent]" in failed.advice
        assert len(self.pbx.hung_up) == 1

    def test_variables_come_a_little_later(self) -> None:
        """A channel is there before its variables are: that is waited for."""
        self.pbx.probe = ""
        self.pbx.host.callLater(1, setattr, self.pbx, "probe", "1")
        assert self.check(seconds=1)[-1].name == "test call"

    def test_no_channel(self) -> None:
        """Where the probe never comes to be, the test call says what is wrong."""
        self.pbx.probe = None
        assert self.check(seconds=3)[-1].name == "test call"


class TheLogin(CheckTest):
    """The link to AMI."""

    def test_no_secret(self) -> None:
        """Where it belongs, and for whom."""
        self.secret.unlink()
        failed = self.failed()
        assert failed.name == "AMI secret"
        assert str(self.secret) in failed.message
        assert "[c2c-agent]" in failed.advice

    def test_a_secret_that_cannot_be_sent(self) -> None:
        """Said before anything is sent."""
        self.configure(ami=evolve(self.ami(), username="c2c-agent"))
        self.secret.write_text("hush" + "x" * 10_000)
        failed = self.failed()
        assert failed.name == "AMI"
        assert self.pbx.host.journal == []

    def ami(self) -> AmiConfig:
        """The section `asterisk.ami`."""
        assert self.config.asterisk is not None
        return self.config.asterisk.ami

    def test_nobody_listens(self) -> None:
        """Where it was tried, and what manager.conf needs."""
        asterisk, self.pbx.host.asterisk = self.pbx.host.asterisk, None
        failed = self.failed()
        self.pbx.host.asterisk = asterisk
        assert failed.name == "AMI login"
        assert failed.message.startswith("127.0.0.1:5038: Connection was refused")
        assert "Is Asterisk running" in failed.advice
        assert "enabled = yes" in failed.advice

    def test_refused(self) -> None:
        """Which secret is to be compared with what."""
        self.does("Login", refuse_login)
        failed = self.failed()
        assert failed.message == "127.0.0.1:5038: login refused: Authentication failed"
        assert f"Compare the secret in {self.secret} with [c2c-agent]" in failed.advice

    def test_no_right_to_look(self) -> None:
        """The user may log in, but lacks `reporting`."""
        self.does(
            "CoreSettings",
            lambda session, action: session.answers(action, "Error", Message="Permission denied"),
        )
        failed = self.failed()
        assert failed.name == "AMI login"
        assert "Permission denied" in failed.message
        assert "[c2c-agent]: write = originate,call,reporting" in failed.advice

    def test_something_else_listens(self) -> None:
        """Something that says nothing, or no AMI."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_connect = say_nothing
        assert self.failed(seconds=10).name == "AMI login"

    def does(self, action: str, what: Any) -> None:
        """Let Asterisk answer an action in this way."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action[action] = what


class TheRights(CheckTest):
    """What the AMI user may do."""

    def test_lacking(self) -> None:
        """Which rights, and the line that gives them."""
        for denied, lacking in (
            ({"Originate"}, "originate"),
            ({"Getvar"}, "call"),
            ({"Originate", "Getvar"}, "originate, call"),
        ):
            self.pbx.denied = denied
            failed = self.failed()
            assert failed.name == "AMI rights"
            assert failed.message == f"the AMI user lacks write = {lacking}"
            assert "manager.conf [c2c-agent]: write = originate,call,reporting" in failed.advice

    def test_the_link_is_lost_meanwhile(self) -> None:
        """No check can go on; the log of Asterisk has more."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action["Originate"] = lambda session, _: session.cut()
        failed = self.failed()
        assert failed.name == "AMI"
        assert "log of Asterisk" in failed.advice


class TheDialplan(CheckTest):
    """The contexts."""

    def test_missing(self) -> None:
        """Which, and how it comes to be there."""
        for name in CONTEXTS:
            self.pbx.contexts = {*CONTEXTS} - {name}
            failed = self.failed()
            assert failed.name == f"context {name}"
            assert failed.message.startswith("not there: ")
            assert f"Did not find context {name}" in failed.message
            assert f"[{name}]" in failed.advice
            assert "dialplan reload" in failed.advice
            assert "c2c-agent setup asterisk" in failed.advice


class TheWayRound(CheckTest):
    """The test call."""

    def test_refused(self) -> None:
        """In Asterisk's words."""

        def refuse(session: FakeSession, action: Message) -> None:
            session.answers(action, "Error", Message="Too many calls")

        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action["Originate"] = refuse
        failed = self.failed()
        assert (failed.name, failed.message) == ("test call", "Too many calls")

    def test_not_heard_of(self) -> None:
        """The user gets no events: which right, and which filter."""
        self.pbx.cause = ""
        failed = self.failed(seconds=10)
        assert failed.message == "it was not heard of within 10 s"
        assert "read = call" in failed.advice
        assert "eventfilter" in failed.advice

    def test_not_come_back(self) -> None:
        """It ended by itself: Asterisk could not reach the listener."""
        self.pbx.comes_round = False
        self.pbx.cause = "16"
        failed = self.failed()
        assert failed.message == f"it did not come back over FastAGI ({AGI_URL}, cause 16)"
        assert "res_agi.so" in failed.advice

    def test_a_listener_that_cannot_be(self) -> None:
        """What the agent itself could not listen on either is said, and where it stands."""
        for listen in ("nonsense", "tcp:agi", "tcp"):
            self.configure(agi=AgiConfig(listen=listen, url=AGI_URL))
            failed = self.failed()
            assert failed.name == "FastAGI"
            assert repr(listen) in failed.message
            assert "asterisk.agi.listen" in failed.advice

    def test_no_url(self) -> None:
        """Where the listener does not say under which URL it is found, the configuration has to."""
        self.configure(agi=AgiConfig(listen="unix:/run/agi.sock"))
        failed = self.failed()
        assert failed.name == "FastAGI"
        assert "asterisk.agi.url must be given" in failed.message
        assert "asterisk.agi" in failed.advice
