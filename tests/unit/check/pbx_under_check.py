"""A configuration and a PBX with which all is well, until a test takes something away."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.ami.message import Message
from c2c_agent.check.finding import Finding
from c2c_agent.check.outside import Outside
from c2c_agent.check.run import run
from c2c_agent.config.pbx import AmiConfig, AsteriskConfig
from c2c_agent.config.sections import AmqpConfig, Config, StoreConfig
from c2c_agent.errors import ConfigError
from c2c_agent.pbx.asterisk.channel_id import check_id
from c2c_agent.service.parts import Parts
from tests.fakes import CRM
from tests.memory_host import MemoryHost
from tests.unit.agi.playbook import Playbook
from tests.unit.ami.fake_asterisk import (
    VERSION,
    FakeAsterisk,
    FakeSession,
)

AGI_PORT = 8475
AGI_URL = "agi://127.0.0.1:8475/c2c"

#: The contexts that a configuration without any changes runs through.
CONTEXTS = (
    "c2c-bridge",
    "c2c-answered",
    "c2c-answered-by",
    "c2c-as-user",
    "c2c-language",
    "c2c-auto-answer",
    "c2c-confirm",
    "c2c-result",
    "c2c-first-result",
    "c2c-check",
    "c2c-taken",
    "c2c-talk",
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
        self.application = "CHANNEL(hangup_handler_push)=c2c-first-result,s,1 c2c-taken"  # they run
        self.sets: dict[str, str] = {}  # what a context sets, beside that
        self.included: dict[str, list[str]] = {}  # in a context
        self.answers: dict[str, str] = {}  # what an extension of a context does
        self.devices: list[str] = []
        self.system_name = ""
        self.rights = ["Originate", "Hangup"]  # actions that the AMI user may send, among others
        self.denied: set[str] = set()  # actions that the AMI user has no right to
        self.cause = "27"  # with which the test call ends; None: nothing is heard of it
        self.comes_round = True
        self.stamps = True  # whether AMI tells when an event happened
        self.filters = True  # whether AMI tells of the agent's calls alone
        self.probe: str | None = "1"  # the variable that the probe has; None: it has no channel
        self.hung_up: list[str] = []
        self.asked: list[Message] = []  # the orders
        self.actions: dict[str, Any] = {
            "ShowDialPlan": self.show_dialplan,
            "Originate": self.originate,
            "Getvar": self.getvar,
            "DeviceStateList": self.device_state_list,
            "Hangup": self.hangup,
            "ListCommands": self.list_commands,
            "CoreSettings": self.core_settings,
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
        items = [{"IncludeContext": name} for name in self.included.get(context, ())]
        if context in self.answers:
            items.append({"Extension": "600", "Application": self.answers[context]})
        for item in items:
            session.sends(Event="ListDialplan", ActionID=action.action_id, Context=context, **item)
        if context in self.sets:
            told = {"Application": "Set", "AppData": self.sets[context], "Context": context}
            session.sends(Event="ListDialplan", ActionID=action.action_id, Extension="s", **told)
        session.sends(Event="ShowDialPlanComplete", ActionID=action.action_id, EventList="Complete")

    def device_state_list(self, session: FakeSession, action: Message) -> None:
        """List the devices."""
        session.answers(action, EventList="start", Message="Device State Changes will follow")
        for device in self.devices:
            session.sends(Event="DeviceStateChange", ActionID=action.action_id, Device=device)
        end = {"Event": "DeviceStateListComplete", "EventList": "Complete"}
        session.sends(ActionID=action.action_id, **end)

    def getvar(self, session: FakeSession, action: Message) -> None:
        """Tell the time, or the variable of a channel."""
        if self.refuses(session, action):
            return
        if "PJSIP_ENDPOINT" in action.get("Variable"):
            session.answers(action, Value="sales")
        elif not action.get("Channel"):
            session.answers(action, Value="1435628937")
        elif self.probe is None:
            session.answers(action, "Error", Message="No such channel")
        else:
            session.answers(action, Value=self.probe)

    def hangup(self, session: FakeSession, action: Message) -> None:
        """End the probe."""
        self.hung_up.append(action.get("Channel"))
        session.answers(action)

    def core_settings(self, session: FakeSession, action: Message) -> None:
        """Tell the version and the system's name, which has a header also where there is none."""
        session.answers(action, AsteriskVersion=VERSION, SystemName=self.system_name)

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
            stamp = {"Timestamp": "1767225600.000000"} if self.stamps else {}
            session.sends(Event="Hangup", **stamp, Uniqueid=uniqueid, Cause=self.cause)
            session.sends(Event="Hangup", Uniqueid=uniqueid, Cause="16")

    def run_dialplan(self, uniqueid: str) -> None:
        """Come to the check's own FastAGI listener; a stranger comes there, too."""
        self.agi(
            check_id(),
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


class FakeLink:
    """A link to a broker, which comes up a second later, or to nothing."""

    def __init__(self, host: MemoryHost, comes_to: str | None) -> None:
        self.last_error = "not connected yet"
        self.stopped = False
        self._host = host
        self._comes_to = comes_to

    def startService(self) -> None:
        if self._comes_to is not None:
            self._host.callLater(0.05, setattr, self, "last_error", self._comes_to)

    def stopService(self) -> Deferred[None]:
        return succeed(None)


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
        self.agent: str | None = None
        self.broker: str | ConfigError | None = ""  # why it lets nobody in; None: it is silent
        self.receivers: dict[str, str] = {}
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

    def build(self, config: Config) -> Parts:
        """Make the parts of an agent, which nobody starts."""
        return Parts(config, self.pbx.host)

    def outside(self) -> Outside:
        """What is there beside the PBX."""
        return Outside(self.running, self.link, self.receiver, lambda: self.sockets)

    def link(self, config: AmqpConfig) -> FakeLink:
        """A link to the broker, which lets us in or says why not."""
        assert config is self.config.amqp
        if isinstance(self.broker, ConfigError):
            raise self.broker
        return FakeLink(self.pbx.host, self.broker)

    async def receiver(self, url: str) -> str | None:
        """Why a receiver cannot be reached."""
        return self.receivers.get(url)

    async def running(self) -> str | None:
        """Where the running agent takes FastAGI."""
        return self.agent

    def check(self, seconds: int = 0) -> list[Finding]:
        """Check everything: the findings, after so many seconds."""

        async def collect() -> list[Finding]:
            return [
                finding
                async for finding in run(self.config, self.pbx.host, self.build, self.outside())
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
