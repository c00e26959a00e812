"""The real agent, in a process that kills itself at a chosen boundary of one call.

`python -m tests.pbx.launcher run --config FILE` is `c2c-agent run` with its seams wrapped: each
commit, each report that is settled, each write to AMI, FastAGI, an HTTP client or a webhook, and
each request to a PBX over HTTP, which lasts until its answer. Just before and just after each of
them is a boundary, with a name. The environment says what to do:

    C2C_BOUNDARY_REQUEST   the request whose boundaries count
    C2C_BOUNDARY_TRACE     a file that takes the name of each boundary that is passed
    C2C_BOUNDARY_KILL      the name of the one at which the process ends by SIGKILL
    C2C_BOUNDARY_ALWAYS    "1": what bears no request's id counts from the start (a recovery)
    C2C_LOOP_TICK          seconds between measurements of the event loop's delay
    C2C_LOOP_LONGEST       a file that takes the longest delay so far, without what the machine
                           kept the event loop's thread waiting for a processor

Nothing of this is in the program itself.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

from twisted.internet.tcp import Connection
from twisted.web._newclient import HTTP11ClientProtocol

from c2c_agent.__main__ import main
from c2c_agent.agi.protocol import AgiProtocol
from c2c_agent.ami.protocol import AmiProtocol
from c2c_agent.net.fresh_request import FreshRequests
from c2c_agent.report import metrics
from c2c_agent.report.delivery import Report, Waiting
from c2c_agent.report.lane import Lane
from c2c_agent.report.metrics import Metrics
from c2c_agent.store.sql_store import SqlStore
from tests.pbx.idle_loop import Longest
from tests.pbx.lateness import WaitsForProcessor
from tests.pbx.linkedid import linkedid_of

_ACTION: Final = re.compile(rb"Action: (\w+)")
_VARIABLE: Final = re.compile(rb"Variable: (\w+)\(")
_CALL: Final = re.compile(rb'"method": "\w+\.call", "server_id"')
#: What a Switchvox is asked.
_METHOD: Final = re.compile(r'"method": ?"([\w.]+)"')
_TYPE: Final = re.compile(rb'"type": ?"(call\.\w+)"')
#: What makes a channel's name differ from call to call.
_CHANNEL_NUMBER: Final = re.compile(r"-[0-9a-f]{8}")

#: Actions that are part of a call's story though they do not name it.
_NAMELESS: Final = frozenset({"Getvar PJSIP_ENDPOINT", "CoreShowChannels"})


class Boundaries:
    """Knows which boundaries were passed, and ends the process at the chosen one."""

    def __init__(self, request_id: str, trace: str | None, kill: str | None) -> None:
        self._request_id = request_id
        self._names = (request_id.encode(), linkedid_of(request_id).encode())
        self._trace = Path(trace) if trace else None
        self._kill = kill
        self._passed: Counter[str] = Counter()
        self._lock = Lock()  # commits are made in a thread of their own
        self.begun = os.environ.get("C2C_BOUNDARY_ALWAYS") == "1"

    def concerns(self, data: bytes) -> bool:
        """Whether bytes name the request."""
        return any(name in data for name in self._names)

    def is_of(self, request_id: str) -> bool:
        """Whether this is the request."""
        return request_id == self._request_id

    def around(self, names: Sequence[str], work: Callable[[], Any]) -> Any:
        """Do something that has these names, with a boundary on either side."""
        numbered = [self._number(name) for name in names]
        for name in numbered:
            self._pass(f"before {name}")
        done = work()
        for name in numbered:
            self._pass(f"after {name}")
        return done

    async def around_waiting(self, name: str, work: Awaitable[Any]) -> Any:
        """The same for what takes its time."""
        numbered = self._number(name)
        self._pass(f"before {numbered}")
        done = await work
        self._pass(f"after {numbered}")
        return done

    def _number(self, name: str) -> str:
        with self._lock:
            self._passed[name] += 1
            return name if self._passed[name] == 1 else f"{name} ({self._passed[name]})"

    def _pass(self, name: str) -> None:
        if self._trace is not None:
            with self._lock, self._trace.open("a", encoding="utf-8") as trace:
                trace.write(name + "\n")
        if name == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)


def _wrap_store(boundaries: Boundaries) -> None:
    commit, changed = SqlStore._commit, SqlStore._changed

    def named_commit(self: SqlStore, saves: Sequence[Any]) -> Any:
        names = [
            f"commit of {save.call.timeline[-1].event}"
            for save in saves
            if boundaries.is_of(save.call.request_id)
        ]
        return boundaries.around(names, lambda: commit(self, saves))

    def named_change(self: SqlStore, change: Callable[..., Any]) -> Any:
        cells = [cell.cell_contents for cell in change.__closure__ or ()]
        # Of a report that is put off, or of those that were delivered, by the ids of their events.
        events = [one.report.event_id for one in cells if isinstance(one, Waiting)]
        for cell in cells:
            events += cell.values() if isinstance(cell, dict) else ()
        names = [f"settling of {types[event]}" for event in events if event in types]
        return boundaries.around(names, lambda: changed(self, change))

    types: dict[object, str] = {}  # of the events of the request
    tell, append = Lane.tell, Lane._append

    def noted_tell(self: Lane, report: Report) -> None:
        if boundaries.is_of(report.request_id):
            types[report.event_id] = report.type
        tell(self, report)

    def noted_append(self: Lane, waiting: Waiting) -> None:
        if boundaries.is_of(waiting.report.request_id):
            types[waiting.report.event_id] = waiting.report.type
        append(self, waiting)

    Lane.tell = noted_tell  # type: ignore[method-assign]
    Lane._append = noted_append  # type: ignore[method-assign]
    SqlStore._commit = named_commit  # type: ignore[method-assign]
    SqlStore._changed = named_change  # type: ignore[method-assign]


def _wrap_requests(boundaries: Boundaries) -> None:
    send = FreshRequests.__call__

    async def named_send(self: FreshRequests, *request: Any) -> Any:
        work = send(self, *request)
        if not boundaries.begun:
            return await work
        method, target, _, body, _ = request
        named = _METHOD.search(body)
        name = named[1] if named else f"{method} /{target.split('/')[1]}"
        return await boundaries.around_waiting(f"PBX {name}", work)

    FreshRequests.__call__ = named_send  # type: ignore[method-assign]


def _wrap_connections(boundaries: Boundaries) -> None:
    write, read = Connection.writeSomeData, Connection._dataReceived

    def named_write(self: Connection, data: bytes) -> Any:
        name = _name_of(boundaries, _unwrapped(self.protocol), bytes(data))
        return boundaries.around([name] if name else [], lambda: write(self, data))

    def noting_read(self: Connection, data: bytes | None) -> Any:
        if data and boundaries.concerns(data):
            boundaries.begun = True  # the request has come
        return read(self, data)

    Connection.writeSomeData = named_write  # type: ignore[method-assign]
    Connection._dataReceived = noting_read  # type: ignore[method-assign]


def _unwrapped(protocol: Any) -> Any:
    """The protocol of ours in what endpoints and ClientService have put around it."""
    for wrapping in ("_wrappedProtocol", "_protocol"):
        protocol = getattr(protocol, wrapping, protocol)
    return protocol


def _name_of(boundaries: Boundaries, protocol: Any, data: bytes) -> str | None:
    """What is written, in words; None where it has nothing to do with the call."""
    if isinstance(protocol, AmiProtocol):
        action = _ACTION.search(data)
        name = action[1].decode() if action else "?"
        variable = _VARIABLE.search(data)
        if variable and name in {"Getvar", "Setvar"}:
            name += f" {variable[1].decode()}"
        counts = boundaries.concerns(data) or (name in _NAMELESS and boundaries.begun)
        return f"AMI {name}" if counts else None
    if isinstance(protocol, AgiProtocol):
        channel = protocol._channel
        told = channel and (channel.environment.uniqueid, *channel.environment.arguments)
        if not boundaries.concerns(" ".join(told or ()).encode()):
            return None
        words = data.decode().strip().partition(",")[0]
        return f"AGI {_CHANNEL_NUMBER.sub('', words)}"
    return _name_over_http(protocol, data) if boundaries.concerns(data) else None


def _name_over_http(protocol: Any, data: bytes) -> str | None:
    if data.startswith(b"HTTP/"):
        return "HTTP answer" if _CALL.search(data) else None  # or a status, for the test
    event = _TYPE.search(data)
    if event:
        return f"report {event[1].decode()}"
    return "write to the PBX" if isinstance(protocol, HTTP11ClientProtocol) else None


def _keep_longest_delay(longest: Longest) -> None:
    delayed = Metrics.loop_delayed
    waits = WaitsForProcessor()

    def kept(self: Metrics, seconds: float) -> None:
        longest(seconds - waits.since())
        delayed(self, seconds)

    Metrics.loop_delayed = kept  # type: ignore[method-assign]


if __name__ == "__main__":
    environment = os.environ
    if "C2C_BOUNDARY_REQUEST" in environment:
        wrapped = Boundaries(
            environment["C2C_BOUNDARY_REQUEST"],
            environment.get("C2C_BOUNDARY_TRACE"),
            environment.get("C2C_BOUNDARY_KILL"),
        )
        _wrap_store(wrapped)
        _wrap_connections(wrapped)
        _wrap_requests(wrapped)
    if "C2C_LOOP_TICK" in environment:
        metrics._TICK = float(environment["C2C_LOOP_TICK"])  # type: ignore[misc]
        _keep_longest_delay(Longest(Path(environment["C2C_LOOP_LONGEST"])))
    sys.argv[0] = "c2c-agent"
    main()
