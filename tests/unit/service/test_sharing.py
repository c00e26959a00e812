"""News of other processes, taken to who has to know; and a shared store that cannot be had."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from unittest import mock

import pytest
from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import CallState, Entry
from c2c_agent.config.sections import Config, StoreConfig
from c2c_agent.dispatch.neighbours import Neighbours
from c2c_agent.errors import ConfigError, StoreError
from c2c_agent.report.live import Live
from c2c_agent.service.sharing import ForeignStreams, Sharing
from c2c_agent.store.call_store import KeyRow
from c2c_agent.store.calls_table import Connection
from c2c_agent.store.postgres.extra import database_versions, shared_store
from tests.fakes import Desk, uuid
from tests.playbook import a_call

T = TypeVar("T")

reactor: Any = global_reactor

ONE, TWO = uuid(1), uuid(2)
SHOP = KeyRow("shop", "0" * 64, {})

NOWHERE = StoreConfig(url="postgresql://c2c@127.0.0.1:9/c2c?connect_timeout=2")


class FakeNews:
    """A shared store that says what the test has it say."""

    observer: Any

    def __init__(self) -> None:
        self.rows: Sequence[KeyRow] = ()
        self.wanted: Sequence[str] = ()
        self.lost: dict[str, int] = {}
        self.recounts = 0
        self.broken = False

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        if self.broken:
            return fail(StoreError("Connection refused"))
        return succeed(self.read_at_once(query))

    def read_at_once(self, query: Callable[[Connection], T]) -> T:
        nothing: Any = None
        return query(nothing)

    def keys(self, _connection: Connection) -> Sequence[KeyRow]:
        return self.rows

    def cancelled(self, _connection: Connection) -> Sequence[str]:
        return self.wanted

    def missing(self, _connection: Connection) -> dict[str, int]:
        return self.lost

    def recount(self) -> Deferred[None]:
        self.recounts += 1
        return succeed(None)


class Heard(SynchronousTestCase):
    """What becomes of the news."""

    def setUp(self) -> None:
        self.desk = Desk(shared=True)
        self.store = FakeNews()
        self.keys: list[Sequence[KeyRow]] = []
        self.cancelled: list[str] = []
        self.neighbours: Neighbours = self.desk.neighbours
        self.clock = Clock()
        self.sharing = Sharing(
            self.store,
            self.neighbours,
            keys=self.keys.append,
            cancel=self.cancelled.append,
            clock=self.clock,
        )

    def test_it_is_the_observer(self) -> None:
        """Of its store."""
        assert self.store.observer is self.sharing

    def test_at_the_start(self) -> None:
        """Keys, and what was to be cancelled while this process was away."""
        self.store.rows, self.store.wanted = [SHOP], [ONE, TWO]
        self.sharing.start()
        assert (self.keys, self.cancelled) == ([[SHOP]], [ONE, TWO])

    def test_a_change(self) -> None:
        """To who waits for that call."""
        changed = self.neighbours.changed(ONE)
        self.sharing.changed_elsewhere(ONE, "crm")
        self.successResultOf(changed)

    def test_a_cancel(self) -> None:
        """To the calls of this process."""
        self.sharing.cancel_wanted(ONE)
        assert self.cancelled == [ONE]

    def test_keys(self) -> None:
        """Read again."""
        self.store.rows = [SHOP]
        self.sharing.keys_changed()
        assert self.keys == [[SHOP]]

    def test_something_missed(self) -> None:
        """All of it."""
        self.store.rows, self.store.wanted = [SHOP], [TWO]
        changed = self.neighbours.changed(ONE)
        self.sharing.missed()
        self.successResultOf(changed)
        assert (self.keys, self.cancelled) == ([[SHOP]], [TWO])

    def test_a_store_that_cannot_be_read(self) -> None:
        """Said; the keys stay as they were."""
        self.store.broken = True
        with capturedLogs() as logged:
            self.sharing.missed()
        assert self.keys == []
        [line] = [formatEvent(event) or "" for event in logged]
        assert "Connection refused" in line

    def test_read_again(self) -> None:
        """Until it can be: a key that was taken away is one that somebody has stolen."""
        self.store.broken = True
        self.sharing.keys_changed()
        self.sharing.missed()
        with capturedLogs() as logged:
            self.clock.advance(5)
        assert len(logged) == 1
        self.store.broken = False
        self.store.rows, self.store.wanted = [SHOP], [TWO]
        assert self.keys == []
        self.clock.advance(5)
        assert (self.keys, self.cancelled) == ([[SHOP]], [TWO])
        assert self.clock.getDelayedCalls() == []

    def test_processes_that_are_lost(self) -> None:
        """Said once, and counted anew; again when one is lost again."""
        self.sharing.start()
        with capturedLogs() as logged:
            for lost in ({}, {"relay-b": 3}, {"relay-b": 2}, {}, {"relay-b": 1}):
                self.store.lost = lost
                self.clock.advance(60)
        assert [formatEvent(event) for event in logged] == [
            f"the process relay-b is not there; its {count} calls in progress count against the "
            "limits until it is back"
            for count in (3, 1)
        ]
        assert self.store.recounts == 2
        self.sharing.stop()
        assert self.clock.getDelayedCalls() == []

    def test_stopped(self) -> None:
        """Nothing is read any more."""
        self.store.broken = True
        self.sharing.missed()
        self.sharing.stop()
        assert self.clock.getDelayedCalls() == []
        self.sharing.missed()
        assert self.clock.getDelayedCalls() == []


class Following(SynchronousTestCase):
    """Streams of calls of other processes: the store is told what is followed here."""

    def setUp(self) -> None:
        self.desk = Desk(shared=True)
        self.live = Live("relay-a", most=10, most_each=10, buffer=100_000)
        streams = ForeignStreams(self.live, self.desk.dispatcher, self.desk.store)
        streams.follow(self.desk.neighbours)
        self.addCleanup(self.desk.neighbours.stop)
        self.addCleanup(self.desk.dispatcher.stop)

    def watched(self) -> list[str]:
        """What the store was told."""
        return list(self.desk.store.watches)

    def test_of_a_key(self) -> None:
        """As long as there is a reader."""
        readers = [self.live.follow_key("crm", "crm") for _ in range(2)]
        assert self.watched() == ["key crm"]
        readers[0].close()
        assert self.watched() == ["key crm"]
        readers[1].close()
        assert self.watched() == []

    def test_of_all(self) -> None:
        """The operator's."""
        reader = self.live.follow_key(None, "operator")
        assert self.watched() == ["all"]
        reader.close()
        assert self.watched() == []

    def test_of_a_request(self) -> None:
        """What has happened before the store knew is told then."""
        reader = self.live.follow_request(ONE, "crm")
        assert self.watched() == [f"request {ONE}"]
        entry = Entry(1.0, CallState.DIALING_FIRST.value)
        call = a_call(request_id=ONE, state=CallState.DIALING_FIRST, timeline=(entry,))
        self.desk.store.put(call)
        self.desk.store.watches[f"request {ONE}"].callback(None)
        assert b"call.accepted" in reader.take()
        reader.close()
        self.desk.clock.advance(10)
        assert self.watched() == []

    def test_of_a_request_of_its_own(self) -> None:
        """Of that it hears without the store."""
        self.desk.submit(request_id=ONE).addErrback(lambda _: None)
        self.live.follow_request(ONE, "crm")
        assert self.watched() == []


class Making(SynchronousTestCase):
    """The store of `store.url`."""

    def setUp(self) -> None:
        self.config = Config(server_id="relay-a", store=NOWHERE, asterisk=None)

    def test_cannot_be_reached(self) -> None:
        """It is made, and says at its opening what is wrong."""
        with pytest.raises(StoreError, match=r"c2c\?.* cannot be used: connection failed"):
            shared_store(self.config, reactor).open()

    def test_cannot_be_checked(self) -> None:
        """Neither can it be looked at."""
        with pytest.raises(StoreError, match="connection failed"):
            database_versions(self.config)

    def test_no_url_of_libpq(self) -> None:
        """Its parameters are libpq's."""
        store = StoreConfig(url="postgresql://db/c2c?nonsense=1")
        with pytest.raises(ConfigError, match=r"store\.url: .*nonsense"):
            shared_store(evolve(self.config, store=store), reactor)

    def test_psycopg_is_missing(self) -> None:
        """What to install."""
        for name in ("c2c_agent.store.postgres.store", "c2c_agent.store.postgres"):
            module = import_module(name)
            self.addCleanup(sys.modules.__setitem__, name, module)
        package = sys.modules["c2c_agent.store.postgres"]
        with (
            mock.patch.dict(sys.modules, {"c2c_agent.store.postgres.store": None}),
            mock.patch.object(package, "store", create=True),
        ):
            del package.store
            for make in (lambda: shared_store(self.config, reactor), self.versions):
                with pytest.raises(ConfigError, match=r"pip install 'c2c-agent\[postgresql\]'"):
                    make()

    def versions(self) -> object:
        """As `check` asks."""
        return database_versions(self.config)

    def test_password(self) -> None:
        """From its file, which has to be there."""
        with TemporaryDirectory() as directory:
            file = Path(directory, "database.password")
            store = evolve(NOWHERE, password_file=str(file))
            config = evolve(self.config, store=store)
            with pytest.raises(ConfigError, match=r"database\.password"):
                shared_store(config, reactor)
            file.write_text("hush\n")
            made = shared_store(config, reactor)
        assert "password=hush" in made._writer._conninfo
