"""What a call takes where only the I/O of the agent is done: the same libraries, and no logic.

    python -m tests.bench.peers.floor run --config FILE

For each call: a request to twisted.web, Getvar and Originate over AMI, the FastAGI session with its
commands, the events split into messages and their headers, a record of the usual size
committed before the order and after the second leg's end (SQLite, a thread of its own, all that
waits in one transaction), a line in the log. Nothing is checked, followed, kept or told.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import yaml
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.bench.peers import ordered

reactor: Any = installed

_ENDING: Final = re.compile(rb"\r\n\r\n")
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, state TEXT, outcome TEXT,
        record TEXT
    );
"""
_SAVE: Final = """
    INSERT INTO calls (request_id, state, outcome, record) VALUES (?, ?, ?, ?)
    ON CONFLICT (request_id) DO UPDATE SET state = excluded.state, outcome = excluded.outcome,
        record = excluded.record
"""
_READ_SECRET: Final = 'GET VARIABLE "C2C_SECRET"\n'
_READ_RESULT: Final = (
    'GET FULL VARIABLE "${DIALSTATUS},${HANGUPCAUSE},${SHARED(C2C_ANSWERED)}${C2C_ANSWERED}"\n'
)
_DONE: Final = 'SET VARIABLE "C2C_DONE" "1"\n'


class Store:
    """One table, one thread that writes."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.executescript(_SCHEMA)
        self.queue: SimpleQueue[tuple[tuple[Any, ...], Deferred[None]]] = SimpleQueue()
        Thread(target=self.work, daemon=True).start()

    def save(self, request_id: str, state: str, outcome: str | None, record: str) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.queue.put(((request_id, state, outcome, record), done))
        return done

    def work(self) -> None:
        while True:
            batch = [self.queue.get()]
            try:
                while True:
                    batch.append(self.queue.get_nowait())
            except Empty:
                pass
            self.connection.execute("BEGIN")
            self.connection.executemany(_SAVE, [row for row, _ in batch])
            self.connection.execute("COMMIT")
            reactor.callFromThread(self.tell, batch)

    def tell(self, batch: list[tuple[tuple[Any, ...], Deferred[None]]]) -> None:
        for _, done in batch:
            done.callback(None)


class Ami(Protocol):
    """The AMI connection."""

    transport: Any

    def __init__(self, user: str, secret: str) -> None:
        self.login = {"Action": "Login", "Username": user, "Secret": secret, "Events": "call"}
        self.rest = b""
        self.waiting: dict[str, Deferred[dict[str, str]]] = {}

    def send(
        self, action: dict[str, str], variables: Mapping[str, str]
    ) -> Deferred[dict[str, str]]:
        action_id = action.setdefault("ActionID", f"floor-{len(self.waiting)}-{id(action)}")
        lines = [f"{name}: {value}\r\n" for name, value in action.items()]
        lines += [f"Variable: {name}={value}\r\n" for name, value in variables.items()]
        self.transport.write("".join([*lines, "\r\n"]).encode())
        answer = self.waiting[action_id] = Deferred()
        return answer

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.send(self.login, {})

    def dataReceived(self, data: bytes) -> None:
        *messages, self.rest = _ENDING.split(self.rest + data)
        for message in messages:
            headers = dict(
                line.partition(": ")[::2] for line in message.decode().split("\r\n") if ": " in line
            )
            if "Event" not in headers and headers.get("ActionID", "") in self.waiting:
                self.waiting.pop(headers["ActionID"]).callback(headers)


class Agi(Protocol):
    """One FastAGI session."""

    transport: Any

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.rest = b""
        self.call_id = ""
        self.said = 0

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.rest += data
        if not self.call_id:
            if self.rest.endswith(b"\n\n"):
                lines = dict(line.partition(": ")[::2] for line in self.rest.decode().split("\n"))
                self.call_id, self.channel = lines["agi_arg_1"], lines["agi_channel"]
                self.command(_READ_SECRET)
        elif self.rest.endswith(b"\n"):
            if self.said == 1:
                second = self.floor.calls[self.call_id]["dial_second"]
                self.command(ordered.dial(second, self.channel))
            elif self.said == 2:
                self.command(_READ_RESULT)
            elif self.said == 3:
                record = json.dumps(self.floor.calls.pop(self.call_id) | {"result": str(self.rest)})
                saved = self.floor.store.save(self.call_id, "ended", "connected", record)
                saved.addCallback(lambda _: self.command(_DONE))
            else:
                self.transport.loseConnection()

    def command(self, line: str) -> None:
        self.rest = b""
        self.said += 1
        self.transport.write(line.encode())


class Floor(Resource):
    """The HTTP side, and all that belongs together."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        ami = config["asterisk"]["ami"]
        secret = Path(ami["secret_file"]).read_text(encoding="utf-8").strip()
        self.ami = Ami(ami["username"], secret)
        self.calls: dict[str, dict[str, Any]] = {}
        self.store = Store(config["store"]["path"])
        agi = config["asterisk"]["agi"]["listen"].split(":")
        web = config["http"]["listen"].split(":")
        self.agi = f"{agi[2].removeprefix('interface=')}:{agi[1]}"
        for place, factory in ((agi, _factory(lambda: Agi(self))), (web, Site(self))):
            factory.noisy = False
            reactor.listenTCP(
                int(place[1]), factory, backlog=1000, interface=place[2].removeprefix("interface=")
            )
        connectProtocol(TCP4ClientEndpoint(reactor, ami["host"], ami["port"]), self.ami)

    def render_GET(self, request: Request) -> int:
        if request.path == b"/readyz":
            request.finish()
        else:
            Deferred.fromCoroutine(self.call(request)).addErrback(lambda f: f.printTraceback())
        return NOT_DONE_YET

    async def call(self, request: Request) -> None:
        asked = {name.decode(): values[0].decode() for name, values in (request.args or {}).items()}
        request_id = str(uuid.uuid4())
        reading = {"Action": "Getvar", "Variable": f"PJSIP_ENDPOINT({asked['dial_as']},context)"}
        await self.ami.send(reading, {})
        order = {
            "Action": "Originate",
            "ActionID": f"c2c-{request_id}",
            "Channel": f"Local/{asked['dial_first']}@c2c-first/n",
            "Context": "c2c-bridge",
            "Exten": "s",
            "Priority": "1",
            "Timeout": "10000",
            "CallerID": f'"{asked["dial_second"]}" <{asked["dial_second"]}>',
            "ChannelId": f"c2c-{request_id}",
            "Async": "true",
        }
        variables = ordered.variables(
            request_id, asked["dial_first"], asked["dial_second"], self.agi
        )
        self.calls[request_id] = {
            **asked,
            "order": order,
            "variables": variables,
            "filler": "x" * 1450,
        }
        record = json.dumps(self.calls[request_id])
        await self.store.save(request_id, "dialing_first", None, record)
        answer = await self.ami.send(order, variables)
        sys.stderr.write(f"call {request_id}: {asked['dial_first']}, then {asked['dial_second']}\n")
        body = {"response": {"request_id": request_id, "status": answer["Response"].lower()}}
        text = json.dumps(body).encode()
        request.setHeader("content-type", "application/json")
        request.setHeader("content-length", str(len(text)))
        request.write(text)
        request.finish()


def _factory(protocol: Any) -> Any:
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    return factory


def main() -> None:
    """Serve until killed."""
    Floor(yaml.safe_load(Path(sys.argv[-1]).read_text(encoding="utf-8")))
    reactor.run()


if __name__ == "__main__":
    main()
