"""What a relayed call takes where only the I/O of a relay is done: pika and psycopg, and no logic.

    python -m tests.bench.peers.bare_relay '{"listen": [host, port], "agent": "pbx1",
        "broker": [host, port, user, password], "url": "postgresql://…", "password": "…"}'

For each call: a request over HTTP, a row committed, the job published and confirmed, each of the
agent's events written over the row and acknowledged after its commit, the answer when an event has
it. All that waits is committed together. Nothing is checked, limited, counted or told. It serves
until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pika
import psycopg
from pika.adapters.asyncio_connection import AsyncioConnection

_SERVER_ID: Final = "relay-bare"
_QUEUE: Final = f"c2c.results.{_SERVER_ID}"
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS calls (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, request_id TEXT NOT NULL UNIQUE,
        state TEXT, outcome TEXT, record TEXT
    )
"""
_INSERT: Final = "INSERT INTO calls (request_id, state, record) VALUES (%s, 'accepted', %s)"
_UPDATE: Final = "UPDATE calls SET state = %s, outcome = %s, record = %s WHERE request_id = %s"
_RESPONSE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


class Store:
    """One table, and one writer."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.queue: asyncio.Queue[tuple[str, tuple[Any, ...], Callable[[], object]]] = (
            asyncio.Queue()
        )

    def write(self, statement: str, values: tuple[Any, ...], done: Callable[[], object]) -> None:
        """Have a statement committed with what else waits; `done` is called then."""
        self.queue.put_nowait((statement, values, done))

    async def work(self) -> None:
        while True:
            batch = [await self.queue.get()]
            while not self.queue.empty():
                batch.append(self.queue.get_nowait())
            async with self.connection.transaction():
                for statement, values, _ in batch:
                    await self.connection.execute(statement.encode(), values)
            for _, _, done in batch:
                done()


class Relay:
    """The broker's side, and all that belongs together."""

    def __init__(self, order: dict[str, Any], store: Store) -> None:
        self.agent = order["agent"]
        self.store = store
        self.waiting: dict[str, asyncio.Future[bytes]] = {}
        host, port, user, password = order["broker"]
        self.up = asyncio.get_running_loop().create_future()
        self.published: dict[int, asyncio.Future[None]] = {}
        self.last = 0
        AsyncioConnection(
            pika.ConnectionParameters(
                host, port, credentials=pika.PlainCredentials(user, password)
            ),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.opened),
        )

    def opened(self, channel: Any) -> None:
        self.channel = channel
        channel.confirm_delivery(self.confirmed)
        channel.basic_qos(prefetch_count=200)
        arguments = {"x-queue-type": "quorum"}
        channel.queue_declare(_QUEUE, durable=True, arguments=arguments)
        channel.queue_bind(_QUEUE, "c2c.events", f"#.{_SERVER_ID}")
        channel.basic_consume(_QUEUE, self.event, callback=lambda _: self.up.set_result(None))

    def confirmed(self, frame: Any) -> None:
        first = min(self.published) if frame.method.multiple else frame.method.delivery_tag
        for tag in range(first, frame.method.delivery_tag + 1):
            if tag in self.published:
                self.published.pop(tag).set_result(None)

    def event(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        told = json.loads(body)
        request_id, record = told["request_id"], told["record"]

        def stored() -> None:
            channel.basic_ack(method.delivery_tag)
            waiting = self.waiting.pop(request_id, None) if "answer" in record else None
            if waiting is not None:
                waiting.set_result(b'{"response": {"status": "success"}}')

        values = (record["state"], record.get("outcome"), body.decode(), request_id)
        self.store.write(_UPDATE, values, stored)

    async def place(self, asked: dict[str, str]) -> bytes:
        """Place a call; the body of the answer."""
        request_id = str(uuid.uuid4())
        job = {
            "request_id": request_id,
            "dial_first": asked["dial_first"],
            "dial_second": asked["dial_second"],
            "dial_as": asked["dial_as"],
            "timeout": 10,
            "pbx": "asterisk",
            "expires": time.time() + 30,
            "relay": _SERVER_ID,
        }
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        body = json.dumps(job)
        self.store.write(_INSERT, (request_id, body), lambda: stored.set_result(None))
        await stored
        answer: asyncio.Future[bytes] = loop.create_future()
        self.waiting[request_id] = answer
        self.last += 1
        confirmed = self.published[self.last] = loop.create_future()
        properties = pika.BasicProperties(delivery_mode=2, type="c2c.job", message_id=request_id)
        self.channel.basic_publish(
            "", f"c2c.jobs.{self.agent}", body.encode(), properties, mandatory=True
        )
        await confirmed
        return await answer


class Http(asyncio.Protocol):
    """One connection, with one request at a time on it."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.tasks: set[asyncio.Task[None]] = set()
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if self.rest.endswith(b"\r\n\r\n"):
            target = self.rest.split(b" ", 2)[1].decode()
            self.rest = b""
            task = asyncio.ensure_future(self.answer(dict(parse_qsl(urlsplit(target).query))))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, asked: dict[str, str]) -> None:
        body = await self.relay.place(asked)
        self.transport.write(_RESPONSE % (len(body), body))


async def main() -> None:
    """Serve."""
    order = json.loads(sys.argv[1])
    connection = await psycopg.AsyncConnection.connect(
        order["url"], password=order["password"], autocommit=True
    )
    await connection.execute(_SCHEMA)
    store = Store(connection)
    relay = Relay(order, store)
    await relay.up
    server = await asyncio.get_running_loop().create_server(lambda: Http(relay), *order["listen"])
    await asyncio.gather(store.work(), server.serve_forever())


if __name__ == "__main__":
    asyncio.run(main())
