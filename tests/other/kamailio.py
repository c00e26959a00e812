"""A real Kamailio on loopback, by the package that scripts/test unpacks, and a phone for it.

Kamailio rings the first phone and refers it to the second (`dlg.bridge_dlg` of its module dialog),
so the first has to know REFER, which the phones of tests/pbx do not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.pbx.sip_trace import SipMessage, SipTrace
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Where scripts/test has unpacked Debian's package; or the system, where it is installed.
ROOT: Final = Path(os.environ.get("C2C_KAMAILIO", "/"))

SIP_PORT: Final = 5060
RPC_PORT: Final = 8090

_START_SECONDS: Final = 20.0
_SIPP: Final = shutil.which("sipp")

_CONFIGURATION: Final = """\
#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
disable_tls=yes
auto_aliases=no
tcp_accept_no_cl=yes
listen=udp:{address}:{sip_port}
listen=tcp:{address}:{rpc_port}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "dialog.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
modparam("jsonrpcs", "transport", 1)
modparam("dialog", "bridge_controller", "sip:c2c@{address}")
request_route {{
    if (has_totag()) {{
        loose_route();
    }}
    t_relay();
}}
event_route[xhttp:request] {{
    if ($hu =~ "^/RPC") {{
        jsonrpc_dispatch();
    }} else {{
        xhttp_reply("404", "Not Found", "text/plain", "nothing is here");
    }}
}}
"""

_PHONE: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a phone that is referred">
<recv request="INVITE" crlf="true"/>
<send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]phone[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]></send>
<pause milliseconds="300"/>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]phone[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=phone 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[local_ip_type] [local_ip]
t=0 0
m=audio 6000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
]]></send>
<recv request="ACK"/>
<recv request="REFER"/>
<send><![CDATA[
SIP/2.0 202 Accepted
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]></send>
<recv request="BYE" optional="true" timeout="2000" ontimeout="over"/>
<label id="over"/>
</scenario>
"""


class KamailioError(Exception):
    """It is not there, or does not start; the text says why."""


class Kamailio:
    """A Kamailio on one address, with its files in a directory."""

    def __init__(self, address: str, directory: Path) -> None:
        self.address = address
        self.url = f"http://{address}:{RPC_PORT}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

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
        """Start it, and wait until it listens."""
        program = ROOT / "usr/sbin/kamailio"
        if not program.exists():
            raise KamailioError(f"{program} is missing: scripts/test unpacks what the tests need")
        [modules] = (ROOT / "usr/lib").glob("*/kamailio/modules")
        configuration = self._directory / "kamailio.cfg"
        configuration.write_text(
            _CONFIGURATION.format(
                address=self.address, sip_port=SIP_PORT, rpc_port=RPC_PORT, modules=f"{modules}/"
            ),
            encoding="utf-8",
        )
        command = [str(program), "-DD", "-E", "-m", "32", "-M", "4", "-Y", str(self._directory)]
        with (self._directory / "kamailio.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": str(modules.parent)},
            )
        wait_until(self._listens, _START_SECONDS, f"Kamailio listens:\n{self.log()}")

    def _listens(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise KamailioError(f"Kamailio does not stay up:\n{self.log()}")
        try:
            with urlopen(self.url, timeout=2):  # noqa: S310 - our own
                return False
        except HTTPError as error:
            return error.code == HTTPStatus.NOT_FOUND
        except OSError:
            return False

    def stop(self) -> None:
        """End it, and its children with it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def log(self) -> str:
        """What it has logged so far."""
        return (self._directory / "kamailio.log").read_text(encoding="utf-8", errors="replace")


class ReferredPhone:
    """A SIPp phone that answers, and calls whom it is referred to: with a second SIPp."""

    def __init__(self, address: str, port: int, directory: Path) -> None:
        self.place = f"{address}:{port}"
        self._address = address
        self._port = port
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.trace = SipTrace(directory / "messages")

    def __enter__(self) -> Self:
        if _SIPP is None:
            raise KamailioError("sipp is missing: scripts/test installs what the tests need")
        scenario = self._directory / "scenario.xml"
        scenario.write_text(_PHONE, encoding="utf-8")
        trace = ["-trace_msg", "-message_file", str(self._directory / "messages")]
        self._run("-sf", str(scenario), "-p", str(self._port), *trace)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _run(self, *arguments: str) -> None:
        with (self._directory / f"screen-{len(self._processes)}").open("wb") as screen:
            self._processes.append(
                subprocess.Popen(
                    [_SIPP or "sipp", "-i", self._address, "-nostdin", *arguments],
                    cwd=self._directory,
                    env=os.environ | {"TZ": "UTC", "TERM": "dumb"},
                    stdin=subprocess.DEVNULL,
                    stdout=screen,
                    stderr=screen,
                )
            )

    def heard(self, method: str) -> list[SipMessage]:
        """The requests of that method that came, each once."""
        return [
            message
            for call in self.trace.calls()
            for message in call.messages
            if message.received and message.start_line.startswith(method + " ")
        ]

    def follow(self, target: str) -> None:
        """Call whom it was referred to: one call, that this side ends after a second."""
        number, _, place = target.removeprefix("sip:").partition("@")
        self._run("-sn", "uac", "-m", "1", "-d", "1000", "-s", number, place)
