"""SIP phones: SIPp processes on loopback that do with a call what they were told to.

One phone takes any number of calls, one after the other or at once, and keeps what it saw.
Start phones from the main thread: they end with the thread that started them.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.pbx.sip_scenario import DECIDE, HANG_UP, scenario
from tests.pbx.sip_trace import SipTrace
from tests.pbx.voice import Voice
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from tests.pbx.sip_scenario import Behaviour
    from tests.pbx.sip_trace import PhoneCall, SipMessage

_START_SECONDS: Final = 20.0
#: Seconds until a call has come to where the phone can be told what to do with it.
_CALL_SECONDS: Final = 20.0
#: SIPp notes every timeout of a scenario as an error; those are how our phones count time.
_COMPLAINT: Final = re.compile(r"^\d{4}-\d\d-\d\d\t.*$", re.MULTILINE)
_NO_COMPLAINT: Final = "receive timeout on message"


class PhoneError(Exception):
    """A phone could not be started; the text says why."""


class Phone:
    """A phone of the given number at the place where the PBX looks for it.

    `directory` takes its files: the scenario, the message trace, what SIPp complained about.
    """

    def __init__(
        self, number: str, address: str, port: int, behaviour: Behaviour, directory: Path
    ) -> None:
        self.number = number
        self.address = address
        self.port = port
        self.behaviour = behaviour
        self._directory = directory
        self._trace = SipTrace(directory / "messages")
        self._process: subprocess.Popen[bytes] | None = None
        self._voice: Voice | None = None

    def __repr__(self) -> str:
        return f"<phone {self.number} at {self.address}:{self.port}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it can be called."""
        for program in ("sipp", "setpriv"):
            if shutil.which(program) is None:
                raise PhoneError(f"{program} is missing: scripts/test installs what the tests need")
        if self._is_bound():
            raise PhoneError(f"something else is at {self.address}:{self.port}")
        self._voice = Voice(self.address, self.behaviour.presses)
        text = scenario(self.behaviour, self._voice.port)
        (self._directory / "scenario.xml").write_text(text, encoding="utf-8")
        with (self._directory / "screen").open("wb") as screen:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._directory,
                env=os.environ | {"TZ": "UTC", "TERM": "dumb"},
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
            )
        self._voice.follow(SipTrace(self._directory / "messages"))
        wait_until(self._is_ready, _START_SECONDS, f"{self} is there")

    def stop(self) -> None:
        """End it at once, as if its plug were pulled; what it saw stays readable."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._voice is not None:
            self._voice.stop()

    @property
    def pid(self) -> int | None:
        """The id of its process while it runs."""
        return self._process.pid if self._process else None

    @property
    def packets_heard(self) -> int:
        """How many packets of voice have come to it so far, in all of its calls."""
        return self._voice.heard if self._voice else 0

    @property
    def voices_heard(self) -> int:
        """How many of them had the voice of another phone in them, not a tone of the PBX."""
        return self._voice.voices_heard if self._voice else 0

    def calls(self) -> list[PhoneCall]:
        """Return every call that came, in order."""
        return self._trace.calls()

    def invites(self) -> list[SipMessage]:
        """Return the INVITE of every call that came, in order."""
        return [call.invite for call in self.calls()]

    def wait_for(
        self, condition: Callable[[PhoneCall], object], timeout: float, what: str
    ) -> PhoneCall:
        """Return the first call of which the condition is true, as soon as there is one."""

        def found() -> PhoneCall | None:
            return next((call for call in self.calls() if condition(call)), None)

        call = wait_until(found, timeout, f"{self}: {what}")
        assert call is not None
        return call

    def whole_call(self) -> PhoneCall:
        """Return the only call that came, as soon as it is over for the phone.

        SIPp notes what it sends a moment later, and what comes when it has time for it: Asterisk
        may have told of the end before.
        """
        call = self.wait_for(lambda call: call.ended_at, _CALL_SECONDS, "its call is over")
        assert len(self.calls()) == 1, f"{self} has had {len(self.calls())} calls"
        return call

    def decide(self) -> None:
        """Have it give its final answer to the call that rings until then; returns when it has."""
        said = 183 if self.behaviour.early_media else 180 if self.behaviour.ringing else 100

        def rings(call: PhoneCall) -> bool:
            return call.final_status is None and any(one.status == said for one in call.messages)

        call = self.wait_for(rings, _CALL_SECONDS, "it rings")
        self._tell(call, DECIDE, lambda call: call.final_status)

    def hang_up(self) -> None:
        """Have it end the first talk that nobody has ended yet; returns when it has."""

        def talks(call: PhoneCall) -> bool:
            begun = any(one.start_line.startswith("ACK ") for one in call.messages)
            return begun and call.ended_at is None

        call = self.wait_for(talks, _CALL_SECONDS, "it talks")
        self._tell(call, HANG_UP, lambda call: call.ended_at)

    def complaints(self) -> list[str]:
        """Return what SIPp found wrong so far: messages that should not have come."""
        path = self._directory / "errors"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return [line for line in _COMPLAINT.findall(text) if _NO_COMPLAINT not in line]

    def _tell(self, call: PhoneCall, request: str, has_done: Callable[[PhoneCall], object]) -> None:
        """Send it a request that SIPp takes for one of the call: with the headers of the INVITE."""
        kept = ("via", "from", "to", "call-id", "cseq")
        headers = [
            f"{name}: {value}" for name, value in call.invite.headers if name.lower() in kept
        ]
        text = "\r\n".join([f"{request} sip:{self.number} SIP/2.0", *headers, "", ""])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), (self.address, self.port))
        self.wait_for(
            lambda one: one.invite is call.invite and has_done(one), _CALL_SECONDS, request
        )

    def _command(self) -> list[str]:
        """Return SIPp's command line, with every socket of it on the phone's own address."""
        return [
            *("setpriv", "--pdeathsig", "KILL"),  # never outlives the tests
            "sipp",
            *("-sf", "scenario.xml", "-s", self.number, "-aa", "-nostdin"),
            *("-i", self.address, "-p", str(self.port), "-bind_local"),
            *("-mi", self.address, "-mp", str(20000 + 4 * int(self.number))),
            *("-ci", self.address, "-cp", str(self.port + 1000)),
            *("-trace_msg", "-message_file", "messages"),
            *("-trace_err", "-error_file", "errors"),
            *("-watchdog_interval", "0"),  # it ends SIPp on a machine that is busy for a while
        ]

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            said = (self._directory / "screen").read_text(encoding="utf-8", errors="replace")
            raise PhoneError(f"{self} does not stay up:\n{said[-2000:]}")
        return self._is_bound()

    def _is_bound(self) -> bool:
        """Tell whether the port is taken, by looking: to try it could take it from the phone."""
        octets = reversed(self.address.split("."))
        place = "".join(f"{int(octet):02X}" for octet in octets) + f":{self.port:04X}"
        sockets = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
        return any(line.split()[1] == place for line in sockets)
