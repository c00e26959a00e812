"""The shared store on a real PostgreSQL: what every store promises, and what several agree on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from threading import Event
from typing import Any, ClassVar
from unittest import mock

import psycopg
import pytest
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.amqp.messages import event_key, relay_of
from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.call.call import Answer, Call, Timekeeper
from c2c_agent.call.events import Event as CallEvent
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    Place,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import ErrorCode, Fault, StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission, LimitReached
from c2c_agent.report.delivery import Depth, Report, Target, reports
from c2c_agent.report.outbox import Outbox
from c2c_agent.store import outbox_table
from c2c_agent.store.call_store import Claim, KeyRow
from c2c_agent.store.calls_table import row
from c2c_agent.store.outbox_table import OutboxTable
from c2c_agent.store.postgres import link as postgres_link
from c2c_agent.store.postgres import store as postgres
from c2c_agent.store.postgres.link import Statements
from c2c_agent.store.postgres.store import Counts, PostgresStore, check, version_of
from tests import store_contract as contract
from tests.cloud.databases import PASSWORD, PORT, STORE_ADDRESS, Database, DatabaseServer
from tests.fake_broker import FakeConnection
from tests.fakes import CRM, SHOP, Desk
from tests.pbx.conftest import alone
from tests.pbx.proxy import Wire
from tests.playbook import JOB, PLAN, a_call
from tests.store_contract import call, ended
from tests.unit.report.test_history import TALKED
from tests.upgrade_contract import WRITTEN, StoreOf010

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("server")]

#: What one relayed call takes at its relay: 7 events come back to it.
STATEMENTS, TRANSACTIONS = 19, 9

#: How a job is placed that an agent elsewhere is to carry out.
RELAYED = evolve(PLAN, timekeeper=Timekeeper.ELSEWHERE)

# Its type is that of a module.
_reactor: Any = reactor


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A PostgreSQL."""
    with alone(STORE_ADDRESS, request.config), DatabaseServer(STORE_ADDRESS) as started:
        yield started


@pytest.fixture
def server(running: DatabaseServer, request: pytest.FixtureRequest) -> None:
    """Give it to the test's class."""
    request.cls.server = running


class News:
    """Hears what the other processes do; `until` waits for some of it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    def changed_elsewhere(self, request_id: str, key_name: str) -> None:
        self.heard.append(("changed", request_id, key_name))

    def cancel_wanted(self, request_id: str) -> None:
        self.heard.append(("cancel", request_id))

    def keys_changed(self) -> None:
        self.heard.append(("keys",))

    def missed(self) -> None:
        self.heard.append(("missed",))

    async def until(self, *news: str, seconds: float = 20) -> None:
        """Wait until this was heard, and forget it and what was before."""
        deadline = time.monotonic() + seconds
        while news not in self.heard:
            assert time.monotonic() < deadline, f"{news} not in {self.heard}"
            await deferLater(_reactor, 0.02)
        del self.heard[: self.heard.index(news) + 1]


class PostgresTests(contract.StoreContract):
    """One store of process `a` in a database of its own."""

    server: ClassVar[DatabaseServer]

    def setUp(self) -> None:
        """Make the database, and a store that is not open yet."""
        self.database: Database = self.server.new()
        self.store = self.another()

    def another(self, server_id: str = "a") -> PostgresStore:
        """A store on the same database."""
        store = PostgresStore(self.database.url, PASSWORD, server_id, _reactor)
        store.observer = News()
        return store

    def both(self) -> tuple[PostgresStore, PostgresStore]:
        """The stores of the processes `a` and `b`, open until the end of the test."""
        stores = self.another("a"), self.another("b")
        for store in stores:
            store.open()
            self.addCleanup(store.close)
        return stores

    def news(self, store: PostgresStore) -> News:
        """What a store's process heard."""
        assert isinstance(store.observer, News)
        return store.observer

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What somebody else reads."""
        return self.database.all(query)

    @contextmanager
    def refusing(self, what: str, table: str) -> Iterator[None]:
        """The database refuses INSERT or DELETE in a table."""
        self.database.do(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''refused by a test''; END'"
        )
        self.database.do(
            f"CREATE TRIGGER refusal BEFORE {what} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        yield
        self.database.do("DROP FUNCTION refuse CASCADE")


class Keeping(PostgresTests, contract.Keeping):
    """What was saved is there."""


class Looking(PostgresTests, contract.Looking):
    """Calls that are looked for."""


class Repeated(PostgresTests, contract.Repeated):
    """The same two numbers again."""


class Tokens(PostgresTests, contract.Tokens):
    """What is known of tokens."""


class Failing(PostgresTests, contract.Failing):
    """What cannot be written."""


class Reports(PostgresTests, contract.Reports):
    """What is to be told of a change comes into the store with it, or not at all."""

    async def test_each_tells_its_own(self) -> None:
        """A report is delivered, counted and sent again by the process that wrote it."""
        a, b = self.both()
        await a.save(call(1), [self.report("1")])
        ours, theirs = OutboxTable(a), OutboxTable(b)
        assert (await theirs.due("crm", 100.0, 10)) == ([], None)
        assert await theirs.depths() == {}
        [waiting], _ = await ours.due("crm", 100.0, 10)
        assert waiting.report.event_id == "1"
        await ours.postpone(waiting, 200.0, "a\0b\ud800", counted=True)
        assert self.rows("SELECT attempts, reason FROM outbox") == [(1, "a\\x00b\\ud800")]
        assert await ours.due("crm", 100.0, 10) == ([], 200.0)
        await ours.bury(waiting, 300.0, "no")
        assert await ours.depths() == {"crm": Depth(0, 1, None)}
        assert await theirs.replay(400.0) == 0
        assert await ours.replay(400.0, "shop") == 0
        assert await ours.replay(400.0, "crm", call(1).request_id) == 1
        assert (await ours.depths())["crm"].waiting == 1
        await ours.delivered("crm", ["1"])
        assert self.rows("SELECT * FROM outbox") == []

    async def test_of_another(self) -> None:
        """What a process tells of a call that turns out to be another's is told to nobody."""
        a, b = self.both()
        await a.save(call(1), [self.report("1")])
        refused = ended(call(1), Outcome.REJECTED)
        await b.save(refused, [self.report("2", kind="call.rejected")])
        assert await b.find(call(1).request_id) == call(1)
        assert self.waiting() == [("crm", "1")]

    async def test_forgotten(self) -> None:
        """What was to be told long ago."""
        a, _ = self.both()
        await a.save(call(1), [self.report("1", at=5.0), self.report("2", at=6.0)])
        assert await OutboxTable(a).delete_old(6.0) == 1
        assert self.waiting() == [("crm", "2")]


class Deleting(PostgresTests, contract.Deleting):
    """Calls that ended long ago."""

    async def test_its_claim_goes_with_it(self) -> None:
        """Nothing is left of it."""
        a, _ = self.both()
        await a.claim(call(1), CRM, at_most(5))
        await a.save(ended(call(1)))
        assert await a.delete_ended(5000.0) == 1
        assert self.rows("SELECT * FROM claims") == []
        assert admitted(await a.claim(call(1), CRM, at_most(5)))


class Finding(PostgresTests, contract.Finding):
    """Lists of calls."""

    async def test_everybody_finds_all(self) -> None:
        """But only its own are a process' to go on with."""
        a, b = self.both()
        await a.save(call(1))
        await b.save(call(2))
        assert await b.find(call(1).request_id) == call(1)
        assert await b.recent(5) == [call(2), call(1)]
        assert (a.unfinished(), b.unfinished()) == ([call(1)], [call(2)])

    async def test_nobody_writes_anothers(self) -> None:
        """What a process has, no other changes."""
        a, b = self.both()
        await a.claim(call(1), CRM, at_most(5))
        await b.save(ended(call(1)))
        assert await a.find(call(1).request_id) == call(1)
        assert self.rows("SELECT running FROM claims") == [(True,)]


def limited(**caps: Any) -> Key:
    """The key of the CRM, with these limits."""
    return evolve(CRM, **caps)


def at_most(calls: int, **limits: Any) -> CallsConfig:
    """The limits of all keys together."""
    return CallsConfig(max_concurrent=calls, **limits)


def admitted(claim: Claim) -> bool:
    """Whether a call may be placed."""
    assert claim.earlier is None
    return isinstance(claim.admitted, Admission)


class Claiming(PostgresTests):
    """Who places a request, and whether the limits allow it."""

    async def test_one_gets_it(self) -> None:
        """Of twenty who want a request at the same moment; the others find it."""
        a, b = self.both()
        ids = {}
        wanted: list[Deferred[Claim]] = []
        for number in range(20):
            store = (a, b)[number % 2]
            one = call(1, at=float(number))
            ids[number] = one
            wanted.append(store.claim(one, CRM, at_most(100)))
        claims = await gatherResults(wanted)
        earlier = [claim.earlier for claim in claims if claim.earlier is not None]
        assert len(earlier) == 19
        assert self.rows("SELECT count(*) FROM calls") == [(1,)]
        [winner] = [number for number, claim in enumerate(claims) if claim.earlier is None]
        assert earlier == [ids[winner]] * 19

    async def test_a_claim_that_was_not_heard_of(self) -> None:
        """The same again, as after a link that broke in the commit: it is still its own."""
        a, b = self.both()
        assert admitted(await a.claim(call(1), limited(max_concurrent=1), at_most(5)))
        assert admitted(await a.claim(call(1), limited(max_concurrent=1), at_most(5)))
        assert await b.claim(call(1), limited(max_concurrent=1), at_most(5)) == Claim(call(1))

    def refused(self, claim: Claim) -> str:
        """With which code."""
        assert isinstance(claim.admitted, LimitReached)
        return claim.admitted.fault.code.value

    async def test_calls_at_once(self) -> None:
        """Over both, of a key and of all; who is over gives its place back."""
        a, b = self.both()
        key = limited(max_concurrent=2)
        assert admitted(await a.claim(call(1), key, at_most(3)))
        assert admitted(await b.claim(call(2), key, at_most(3)))
        assert self.refused(await a.claim(call(3), key, at_most(3))) == "too_many_calls"
        assert admitted(await a.claim(call(4, key="shop"), SHOP, at_most(3)))
        assert (
            self.refused(await b.claim(call(5, key="shop"), SHOP, at_most(3))) == "too_many_calls"
        )
        await b.save(ended(call(2)))
        assert admitted(await a.claim(call(6), key, at_most(3)))
        failed = Answer((Fault(ErrorCode.PBX_UNAVAILABLE, "no"),))
        await a.save(call(6, answer=failed))  # its phones may ring all the same
        assert self.refused(await b.claim(call(7), key, at_most(3))) == "too_many_calls"
        await a.save(call(6, answer=failed, plan=RELAYED))
        assert admitted(await b.claim(call(7), key, at_most(3)))

    async def test_never_one_too_many(self) -> None:
        """However many ask at the same moment, at both."""
        stores = self.both()
        key = limited(max_concurrent=5, per_minute=7)
        claims = await gatherResults(
            [stores[number % 2].claim(call(number), key, at_most(100)) for number in range(40)]
        )
        assert sum(map(admitted, claims)) == 5
        placed = [number for number, claim in enumerate(claims) if admitted(claim)]
        await gatherResults([stores[number % 2].save(ended(call(number))) for number in placed])
        claims = await gatherResults(
            [stores[number % 2].claim(call(number), key, at_most(100)) for number in range(40, 80)]
        )
        assert sum(map(admitted, claims)) == 2
        assert {self.refused(claim) for claim in claims if not admitted(claim)} == {"rate_limited"}

    async def test_a_minute(self) -> None:
        """By the database's clock; after it there is room again."""
        a, b = self.both()
        key = limited(per_minute=1)
        await a.claim(call(1), key, at_most(5))
        claim = await b.claim(call(2), key, at_most(5))
        assert self.refused(claim) == "rate_limited"
        assert isinstance(claim.admitted, LimitReached)
        assert 1 <= (claim.admitted.retry_after or 0) <= 60
        self.database.do("UPDATE claims SET admitted_at = admitted_at - 60")
        self.database.do("SELECT c2c_recount(TRUE)")
        assert admitted(await b.claim(call(3), key, at_most(5)))

    async def test_a_day(self) -> None:
        """Over both; who was never dialled does not count."""
        a, b = self.both()
        key = limited(per_day=2)
        for number, store, outcome in (
            (1, a, Outcome.CONNECTED),
            (2, b, Outcome.REJECTED),
            (3, b, Outcome.SECOND_BUSY),
        ):
            assert admitted(await store.claim(call(number), key, at_most(5)))
            await store.save(ended(call(number), outcome))
        assert self.refused(await a.claim(call(4), key, at_most(5))) == "rate_limited"
        self.database.do("UPDATE claims SET admitted_at = admitted_at - 86400")
        self.database.do("SELECT c2c_recount(TRUE)")
        assert admitted(await a.claim(call(5), key, at_most(5)))

    async def test_minutes(self) -> None:
        """What one has reserved, the other cannot use; what was not used, it can."""
        a, b = self.both()
        key = limited(minutes_per_day=4)
        claim = await a.claim(call(1), key, at_most(5, max_duration=45))
        before = JOB.seconds_before_talk
        assert claim.admitted == Admission(45, before + 45)
        rest = 240 - (before + 45) - before
        claim = await b.claim(call(2), key, at_most(5, max_duration=600))
        assert claim.admitted == Admission(rest, before + rest)
        assert self.refused(await a.claim(call(3), key, at_most(5))) == "rate_limited"
        answered = LegEvidence(answered_at=1.0, ended_at=11.0)
        await a.save(ended(call(1, first=answered)))
        await b.save(ended(call(2)))
        assert self.rows("SELECT sum(reserved), sum(spent) FROM claims") == [(0.0, 10.0)]
        claim = await b.claim(call(4), key, at_most(5, max_duration=600))
        assert claim.admitted == Admission(230 - before, 230)
        self.database.do("UPDATE claims SET ended_at = ended_at - 86400, reserved = 0")
        self.database.do("SELECT c2c_recount(TRUE)")
        claim = await a.claim(call(5), key, at_most(5, max_duration=600))
        assert claim.admitted == Admission(240 - before, 240)

    async def test_what_cannot_be_placed_anyway(self) -> None:
        """It is claimed, and does not count."""
        a, b = self.both()
        assert await a.claim(call(1), None, at_most(1)) == Claim()
        assert await b.claim(call(1), CRM, at_most(1)) == Claim(call(1))
        assert admitted(await b.claim(call(2), CRM, at_most(1)))


class Counting(PostgresTests):
    """What keys use is counted as it changes; the claims are the truth."""

    async def some_use(self, store: PostgresStore) -> None:
        """Calls in progress, some that ended, one that nobody was dialled for, one refused."""
        key = limited(per_minute=100, per_day=100, minutes_per_day=1000)
        for number in range(1, 7):
            await store.claim(call(number), key, at_most(5, max_duration=60))
        await store.claim(call(7, key="shop"), SHOP, at_most(10))
        answered = LegEvidence(answered_at=1.0, ended_at=11.0)
        await store.save(ended(call(1, first=answered)))
        await store.save(ended(call(2), Outcome.REJECTED))
        failed = Answer((Fault(ErrorCode.PBX_UNAVAILABLE, "no"),))
        await store.save(call(3, answer=failed, plan=RELAYED))

    def counts(self) -> list[tuple[Any, ...]]:
        """All that is counted."""
        total = "SELECT sum(running) FROM running_total"
        slots = "SELECT key_name, kind, sum(amount) FROM usage_slots GROUP BY 1, 2 ORDER BY 1, 2"
        usage = "SELECT key_name, running, reserved FROM usage ORDER BY 1"
        return [*self.rows(usage), *self.rows(total), *self.rows(slots)]

    async def test_as_it_changes(self) -> None:
        """Six were wanted of the one, of which the limit refused one; three are over."""
        a, _ = self.both()
        await self.some_use(a)
        reserved = JOB.seconds_before_talk + 60
        assert self.counts() == [
            ("crm", 2, 3.0 * reserved),  # of the one that failed nobody knows the end yet
            ("shop", 1, JOB.seconds_before_talk + 14400.0),
            (3,),
            ("crm", "day", 4.0),
            ("crm", "minute", 5.0),
            ("crm", "spent", 10.0),
            ("shop", "day", 1.0),
            ("shop", "minute", 1.0),
        ]
        assert self.rows("SELECT c2c_recount(TRUE)") == []
        await a.save(ended(call(3)))
        await a.save(ended(call(3)))
        assert self.counts()[0] == ("crm", 2, 2.0 * reserved)

    async def test_counted_anew(self) -> None:
        """Whatever was wrong is right, and said."""
        a, _ = self.both()
        await self.some_use(a)
        right = self.counts()
        for change in (
            "UPDATE usage SET running = running + 1 WHERE key_name = 'crm'",
            "DELETE FROM usage",
            "INSERT INTO usage (key_name, running) VALUES ('crm2', 3)",
        ):
            self.database.do(change)
            assert check(self.database.url, PASSWORD).wrong
            assert check(self.database.url, PASSWORD) == Counts(7, 5, [])
            assert [row for row in self.counts() if row[0] != "crm2"] == right
        self.database.do("UPDATE running_total SET running = 9 WHERE shard = 3")
        assert check(self.database.url, PASSWORD).wrong == ["all keys together"]
        self.database.do("UPDATE usage_slots SET amount = 9 WHERE kind = 'spent'")
        self.database.do("DELETE FROM usage_slots WHERE kind = 'day'")
        assert sorted(check(self.database.url, PASSWORD).wrong) == ["key crm", "key shop"]
        assert [row for row in self.counts() if row[0] != "crm2"] == right

    async def test_at_the_start(self) -> None:
        """What is in progress is counted anew."""
        a, _ = self.both()
        await self.some_use(a)
        right = self.counts()
        self.database.do("UPDATE usage SET running = 77")
        with capturedLogs() as logged:
            other = self.another("c")
            other.open()
            self.addCleanup(other.close)
        assert "counted wrongly" in (formatEvent(logged[0]) or "")
        assert self.counts() == right

    async def test_a_claim_that_was_not_heard_of(self) -> None:
        """It counts once."""
        a, _ = self.both()
        key = limited(per_minute=5)
        await a.claim(call(1), key, at_most(5))
        right = self.counts()
        await a.claim(call(1), key, at_most(5))
        assert self.counts() == right

    async def test_in_one_transaction(self) -> None:
        """Many of several keys, among them the same request twice, in the order of asking."""
        twice = call(3, max_duration=7)
        wanted = [
            self.store.claim(one, key, at_most(100))
            for one, key in (
                (call(1), limited(max_concurrent=1)),
                (call(2), limited(max_concurrent=1)),
                (call(3, key="shop"), SHOP),
                (twice, limited()),
                (call(4), None),
            )
        ]
        self.opened()
        claims = await gatherResults(wanted)
        assert [admitted(claim) for claim in (*claims[:3], claims[4])] == [True, False, True, False]
        assert claims[3] == Claim(call(3, key="shop"))

    async def test_of_a_key_that_was_used_much(self) -> None:
        """When there is room again is known from the slots."""
        a, _ = self.both()
        key = limited(per_minute=3)
        for number in range(1, 4):
            await a.claim(call(number), key, at_most(5))
        back = "UPDATE claims SET admitted_at = admitted_at - %s WHERE request_id = %s"
        for number, seconds in ((1, 50), (2, 40)):
            self.database.do(back, seconds, call(number).request_id)
        self.database.do("SELECT c2c_recount(TRUE)")
        claim = await a.claim(call(4), key, at_most(5))
        assert isinstance(claim.admitted, LimitReached)
        assert 5 <= (claim.admitted.retry_after or 0) <= 10

    async def test_who_is_not_there(self) -> None:
        """A process whose calls are in progress, and that has no session any more."""
        a, _ = self.both()
        other = self.another("c")
        other.open()
        await other.save(call(1))
        assert await a.read(a.missing) == {}
        other.close()
        deadline = time.monotonic() + 20
        while await a.read(a.missing) != {"c": 1}:  # the server notices a moment later
            assert time.monotonic() < deadline
            await deferLater(_reactor, 0.05)


class Of010(PostgresTests, StoreOf010):
    """A database that 0.1.0 has worked with."""

    def setUp(self) -> None:
        """Bring it up to date."""
        super().setUp()
        self.database.do((WRITTEN / "c2c.sql").read_text(encoding="utf-8"))
        self.store = self.another("pbx1.example.com")
        self.store.open()
        self.addCleanup(self.store.close)


class Upgrading(PostgresTests):
    """A database that version 0.1 made."""

    def old(self) -> Database:
        """A database with the schema of 0.1."""
        old = self.server.new()
        schema = files("c2c_agent.store.postgres").joinpath("schema_v3.sql").read_text()
        old.do(schema)
        return old

    def schema(self, database: Database) -> list[tuple[Any, ...]]:
        """All that makes a schema: columns, indexes, functions, triggers."""
        found: list[tuple[Any, ...]] = []
        for query in (
            (
                "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, "
                "column_default FROM information_schema.columns WHERE table_schema = 'public' "
                "ORDER BY 1, 2"
            ),
            "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 2",
            (
                "SELECT proname, pg_get_functiondef(oid) FROM pg_proc "
                "WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
            ),
            (
                "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger "
                "WHERE NOT tgisinternal ORDER BY 1"
            ),
            (
                "SELECT relname, relpersistence, reloptions FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
            ),
            "SELECT version FROM schema_version",
        ):
            found += database.all(query)
        return found

    def test_the_same_schema(self) -> None:
        """As a database has that is new."""
        fresh, old = self.server.new(), self.old()
        for database in (fresh, old):
            store = PostgresStore(database.url, PASSWORD, "a", _reactor)
            store.open()
            store.close()
        assert self.schema(old) == self.schema(fresh)

    async def test_what_was_in_it(self) -> None:
        """Calls are found, and count as before."""
        self.database = self.old()
        now = time.time()
        with closing(psycopg.connect(self.database.url, password=PASSWORD)) as connection:
            one = ended(call(1))
            columns = (
                "request_id, key_name, received_at, state, outcome, ended_at, record, server_id"
            )
            values = ", ".join(f":{column}" for column in columns.split(", "))
            put = f"INSERT INTO calls ({columns}) VALUES ({values})"  # noqa: S608 - our own words
            for old in (one, call(2), call(3)):
                Statements(connection).execute(put, row(old, "a"))
            for number, admitted_at, running in ((1, now - 5, False), (2, now - 4, True)):
                connection.execute(
                    "INSERT INTO claims (request_id, key_name, admitted_at, running, reserved) "
                    "VALUES (%s, 'crm', %s, %s, 0)",
                    (call(number).request_id, admitted_at, running),
                )
            connection.commit()
        a, _ = self.both()
        assert await a.find(call(1).request_id) == one
        claim = await a.claim(call(4), limited(max_concurrent=1), at_most(9))
        assert isinstance(claim.admitted, LimitReached)
        assert claim.admitted.fault.code is ErrorCode.TOO_MANY_CALLS
        claim = await a.claim(call(5), limited(per_minute=2), at_most(9))
        assert isinstance(claim.admitted, LimitReached)
        assert claim.admitted.fault.code is ErrorCode.RATE_LIMITED
        await a.save(ended(call(2)))
        assert admitted(await a.claim(call(6), limited(max_concurrent=1), at_most(9)))


class Hearing(PostgresTests):
    """What one does, the others hear of."""

    async def test_changes(self) -> None:
        """Which call, and whose key; once it is durable. Who did it does not hear of it."""
        a, b = self.both()
        for store in (a, b):
            await store.watch("all")
        await a.save(call(1))
        await self.news(b).until("changed", call(1).request_id, "crm")
        await b.save(call(2))
        await self.news(a).until("changed", call(2).request_id, "crm")
        assert self.news(a).heard == []

    async def test_only_what_is_waited_for(self) -> None:
        """A request, or the calls of a key, for as long as somebody waits."""
        a, b = self.both()
        await b.watch(f"request {call(2).request_id}", call(2).request_id)
        await b.watch("key shop")
        for number, key in ((1, "crm"), (2, "crm"), (3, "shop")):
            await a.save(call(number, key=key))
        await self.news(b).until("changed", call(2).request_id, "crm")
        await self.news(b).until("changed", call(3).request_id, "shop")
        await b.unwatch("key shop")
        await a.save(call(4, key="shop"))
        await a.save(ended(call(2)))
        await self.news(b).until("changed", call(2).request_id, "crm")
        assert self.news(b).heard == []

    async def test_no_change_is_missed(self) -> None:
        """One that is on its way while somebody says that it waits is seen, or heard of."""
        a, b = self.both()
        await a.save(call(1))
        request_id = call(1).request_id
        with closing(self.database.connect()) as other:
            other.autocommit = False
            # As a store that has not seen the watch, and has not committed yet.
            other.execute("UPDATE calls SET outcome = 'x' WHERE request_id = %s", (request_id,))
            heard: list[object] = []
            watching = b.watch(f"request {request_id}", request_id).addCallback(heard.append)
            await deferLater(_reactor, 0.2)
            assert heard == []
            other.commit()
        await watching
        assert heard == [None]

    async def test_after_a_crash_of_the_server(self) -> None:
        """It has forgotten who waits, and is told again."""
        a, b = self.both()
        await b.watch("all")
        self.server.kill()
        self.server.start()
        await self.news(b).until("missed")
        await a.save(call(1))
        await self.news(b).until("changed", call(1).request_id, "crm")

    async def test_who_is_gone_waits_for_nothing(self) -> None:
        """A process that comes back begins anew."""
        other = self.another("b")
        other.open()
        await other.watch("all")
        other.close()
        self.both()
        assert self.rows("SELECT * FROM watches") == []

    async def test_cancelling(self) -> None:
        """Heard at once, and known after a restart."""
        a, b = self.both()
        await a.claim(call(1), CRM, at_most(5))
        await a.claim(call(2), CRM, at_most(5))
        await b.ask_to_cancel(call(1).request_id)
        await self.news(a).until("cancel", call(1).request_id)
        assert a.read_at_once(a.cancelled) == [call(1).request_id]
        assert b.read_at_once(b.cancelled) == []
        await a.save(ended(call(1)))
        assert a.read_at_once(a.cancelled) == []

    async def test_keys(self) -> None:
        """Whatever is done to the table."""
        a, _ = self.both()
        for change in (
            """INSERT INTO keys VALUES ('shop', 'abc', '{"allow": ["_1XX"]}')""",
            "UPDATE keys SET sha256 = 'def'",
        ):
            self.database.do(change)
            await self.news(a).until("keys")
        assert await a.read(a.keys) == [KeyRow("shop", "def", {"allow": ["_1XX"]})]
        self.database.do("DELETE FROM keys")
        await self.news(a).until("keys")
        assert await a.read(a.keys) == []


class Restarting(PostgresTests):
    """A server that goes away and comes back."""

    async def test_restarted(self) -> None:
        """What was kept is there; connections are made anew, and everything is looked at again."""
        a, b = self.both()
        await a.save(call(1))
        self.server.stop()
        try:
            with pytest.raises(StoreError, match="Connection refused"):
                await a.save(call(2))
            with pytest.raises(StoreError, match="Connection refused"):
                await a.find(call(1).request_id)
            with pytest.raises(StoreError):
                await a.claim(call(3), CRM, at_most(5))
            # As the first who noticed it was told, in one line.
            assert a.last_error is not None
            assert "\n" not in a.last_error
        finally:
            self.server.start()
        for store in (a, b):
            await self.news(store).until("missed")
            assert store.last_error is None
        await b.watch("all")
        assert await b.find(call(1).request_id) == call(1)
        await a.save(call(2))
        await self.news(b).until("changed", call(2).request_id, "crm")

    async def test_killed(self) -> None:
        """What was told to be durable is."""
        a, b = self.both()
        calls = [call(number) for number in range(1, 30)]
        await self.all_saved_by(a, *calls)
        self.server.kill()
        self.server.start()
        await a.save(call(30))
        assert await b.recent(100) == [call(30), *reversed(calls)]

    def all_saved_by(self, store: PostgresStore, *calls: Call) -> Deferred[list[None]]:
        """Save them at this one."""
        return gatherResults([store.save(one) for one in calls])

    async def test_sessions_that_are_ended(self) -> None:
        """Nobody notices: what was under way is done again."""
        a, _ = self.both()
        await a.save(call(1), [self.report])
        self.end_sessions()
        await a.save(ended(call(1)), [self.report])
        self.end_sessions()
        assert await a.find(call(1).request_id) == ended(call(1))
        assert self.rows("SELECT count(*) FROM outbox") == [(1,)]

    async def test_a_session_that_is_ended_within_executemany(self) -> None:
        """Libpq waits for more of it, for ever: the connection is made anew nevertheless."""
        a, b = self.both()
        await a.save(call(1))
        ends = iter([True, False])

        def leave_half_sent(writer: Any) -> None:
            if next(ends):
                libpq = writer._connection.pgconn
                libpq.enter_pipeline_mode()
                libpq.send_query_params(b"SELECT 1", [])
                raise psycopg.OperationalError("cannot exit pipeline mode while busy")

        await a.write(leave_half_sent)
        await a.save(ended(call(1)))
        assert await b.find(call(1).request_id) == ended(call(1))

    async def test_a_server_that_says_nothing(self) -> None:
        """Who waits is told after a while; when it answers again, all goes on."""
        url = self.database.url
        wire = Wire(STORE_ADDRESS, PORT + 1, (STORE_ADDRESS, PORT))
        self.database = evolve(self.database, url=url.replace(f":{PORT}/", f":{PORT + 1}/"))
        with wire:
            a, _ = self.both()
            await a.save(call(1))
            assert await a.find(call(1).request_id) == call(1)
            wire.deaf = True
            with mock.patch.object(postgres_link, "PATIENCE", 1.0):
                for waiting in (a.save(call(2)), a.find(call(1).request_id), a.save(call(3))):
                    with pytest.raises(StoreError, match="timeout expired"):
                        await waiting
            assert "timeout expired" in str(a.last_error)
            wire.deaf = False
            await a.save(call(2))
            assert a.last_error is None
            assert await a.find(call(2).request_id) == call(2)
            self.database = evolve(self.database, url=url)
            assert self.rows("SELECT count(*) FROM calls") == [(2,)]

    async def test_sessions_that_are_ended_at_any_moment(self) -> None:
        """Whatever is under way, who goes on writes and reads as before."""
        a, b = self.both()
        over = Event()

        def end_again_and_again() -> None:
            while not over.wait(0.004):
                self.end_sessions()

        ending = deferToThread(end_again_and_again)
        try:
            for first in range(1, 6000, 30):
                calls = [call(number) for number in range(first, first + 30)]
                # What was ended twice within one transaction fails.
                await DeferredList([a.save(one) for one in calls], consumeErrors=True)
        finally:
            over.set()
            await ending
        last = call(6001)
        await a.save(last)
        assert await b.find(last.request_id) == last
        await a.save(ended(last))
        assert await b.find(last.request_id) == ended(last)

    report = Report("crm", "1", "call.ended", call(1).request_id, 5.0, "{}")

    def end_sessions(self) -> None:
        """End all sessions but this one."""
        self.database.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


class Opening(PostgresTests):
    """Who may use the database."""

    async def test_the_same_server_id(self) -> None:
        """Two living processes cannot have it; when the one has gone, the other can."""
        self.opened()
        other = self.another()
        with pytest.raises(StoreError, match="another process with the server_id a uses it"):
            other.open()

    async def test_after_the_first_has_gone(self) -> None:
        """Its lock goes with it."""
        self.store.open()
        self.store.close()
        self.store = self.another()
        self.opened()

    async def test_usurped(self) -> None:
        """Who was cut off meanwhile, and finds another in its place, places no more calls."""
        store = self.another()
        store.open()
        self.addCleanup(store.close)
        with closing(self.database.connect()) as other:
            lock = "SELECT pg_advisory_lock(hashtextextended('c2c-agent a', 0))"
            ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            # In one go: the store comes for its lock again after a second.
            other.execute(f"{ended}; {lock}")
            while store.last_error is None or "server_id a" not in store.last_error:
                await deferLater(_reactor, 0.05)
            with pytest.raises(StoreError, match="another process"):
                await store.claim(call(1), CRM, at_most(5))
            await store.save(call(2))
        await self.news(store).until("missed")
        assert admitted(await store.claim(call(1), CRM, at_most(5)))

    async def test_both_at_once(self) -> None:
        """Two first starts at the same moment make one schema."""
        self.both()
        assert self.rows("SELECT version FROM schema_version") == [(5,)]
        assert version_of(self.database.url, PASSWORD) == 5

    async def test_unknown_schema(self) -> None:
        """A database of a later version is left alone."""
        assert version_of(self.database.url, PASSWORD) == 0
        self.store.open()
        self.store.close()
        self.database.do("UPDATE schema_version SET version = 7")
        with pytest.raises(StoreError) as caught:
            self.another().open()
        assert str(caught.value) == (
            f"The store {self.database.url} cannot be used: it has schema 7; this version of "
            "c2c-agent knows up to 5."
        )

    async def test_a_wrong_password(self) -> None:
        """It is told, but for the password."""
        store = PostgresStore(self.database.url, "not this one", "a", _reactor)
        with pytest.raises(StoreError, match="password authentication failed") as caught:
            store.open()
        assert "not this one" not in str(caught.value)

    def test_no_url(self) -> None:
        """What libpq says of it."""
        with pytest.raises(StoreError, match=r"store\.url: "):
            PostgresStore("postgresql://db/c2c?nonsense=1", None, "a", _reactor)

    async def test_durable(self) -> None:
        """Also where the server would not wait for the disk."""
        name = self.database.url.rpartition("/")[2]
        self.database.do(f"ALTER DATABASE {name} SET synchronous_commit = off")
        self.opened()
        shown = await self.store.read(
            lambda reader: reader.execute("SHOW synchronous_commit").fetchone()
        )
        assert shown == ("on",)

    async def test_indexes(self) -> None:
        """What is due, and who waits, is found without looking at everything."""
        self.opened()
        queries = {
            outbox_table._DUE: "outbox_due",
            postgres._TELL: "watches_pkey",
        }
        values = {
            "server_id": "a",
            "target": "crm",
            "now": 1.0,
            "most": 3,
            "told": "[]",
        }
        with closing(psycopg.connect(self.database.url, password=PASSWORD)) as connection:
            connection.execute("SET enable_seqscan = off")
            for query, index in queries.items():
                plan = Statements(connection).execute(f"EXPLAIN {query}", values).fetchall()
                assert index in " ".join(step for (step,) in plan)


class RelayDesk(Desk):
    """A relay's core over a real database, and a broker in memory; it has no webhooks."""

    def __init__(self, store: PostgresStore) -> None:
        self._shared: Any = store
        self.broker = FakeConnection()
        super().__init__(shared=True)

    def _open(self) -> None:
        clock: Any = self.clock
        relay = RelayDriver(
            server_id=self._shared.server_id,
            agents=lambda: ["pbx1"],
            answer_timeout=10,
            clock=clock,
            now=self.now,
            events="own",
        )
        self.store = self._shared
        drivers: Any = {"asterisk": relay}
        self.drivers = drivers
        outbox: Any = Outbox(
            OutboxTable(self._shared), [], server_id="a", clock=clock, now=self.now
        )
        self.outbox = outbox
        super()._open()
        connection: Any = self.broker
        Deferred.fromCoroutine(relay.opened(connection, lambda _: None))


class OneCall(PostgresTests):
    """What a relayed call costs, from its claim to its end, as counted; no more than this."""

    def count(self, where: type, name: str, how: Callable[..., int], what: str) -> None:
        """Count the calls of a method."""
        made = getattr(where, name)

        def counted(this: object, *arguments: Any) -> Any:
            self.costs[what] += how(*arguments)
            return made(this, *arguments)

        patched = mock.patch.object(where, name, counted)
        patched.start()
        self.addCleanup(patched.stop)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            await deferLater(_reactor, 0.005)

    async def test_what_it_costs(self) -> None:
        """Statements, transactions, notifications, and messages; the other relay has nothing."""
        a, b = self.both()
        # Somebody follows a call of b's at a, and one of a's at b: other calls than this one.
        for store in (a, b):
            await store.watch(f"request {call(9).request_id}", call(9).request_id)
        self.costs: Counter[str] = Counter()
        desk = RelayDesk(a)
        self.count(Statements, "execute", lambda *_: 1, "statements")
        self.count(Statements, "executemany", lambda _, rows: len(list(rows)), "statements")
        self.count(postgres_link.Link, "_run", lambda *_: 1, "transactions")
        with closing(self.database.connect()) as other:
            for server_id in ("a", "b"):
                other.execute(f"LISTEN {postgres._channel(server_id)}".encode())
            other.execute("LISTEN c2c_cancels")
            key = limited(agent="pbx1", max_concurrent=5, per_minute=100, per_day=1000)
            answer = desk.submit(key, request_id=call(1).request_id)
            await self.until(lambda: bool(desk.broker.published))
            [(_, queue, job, _)] = desk.broker.published
            assert queue == "c2c.jobs.pbx1"
            events = await self.tell(desk, job)
            assert (await answer).answer == Answer()
            notified = list(other.notifies(timeout=0.2))
        stored = await a.find(call(1).request_id)
        assert stored is not None
        assert stored.outcome is Outcome.CONNECTED
        self.costs["statements"] -= 1  # of this look at it
        self.costs["transactions"] -= 1
        assert self.rows("SELECT running, reserved FROM usage") == [(0, 0.0)]
        assert (notified, len(desk.broker.published), events) == ([], 1, 7)
        assert dict(self.costs) == {"statements": STATEMENTS, "transactions": TRANSACTIONS}
        # What is watched is heard of all the same.
        await b.save(call(9))
        await self.news(a).until("changed", call(9).request_id, "crm")

    async def tell(self, desk: RelayDesk, job: bytes) -> int:
        """Be the agent: tell the whole story of a call, each event when the last one is stored."""
        events = 0
        relay = relay_of(job)
        one = a_call(request_id=call(1).request_id, relay=relay)
        story: list[CallEvent] = [
            Place(PLAN),
            OriginateAccepted({"Response": "Success"}),
            FirstRinging("PJSIP/100-1"),
            FirstAnswered("PJSIP/100-1"),
            SecondDialed(30),
            SecondRinging("PJSIP/200-2"),
            SecondAnswered("PJSIP/200-2"),
            Gone(TALKED),
        ]
        for number, happened in enumerate(story):
            before, one = one, step(one, happened, 1000.5 + number).call
            for report in reports(before, one, [Target("relay", relay=True)], server_id="pbx1"):
                tag = desk.broker.deliver(
                    report.body.encode(), key=event_key("pbx1", report.type, relay)
                )
                await self.until(lambda tag=tag: tag in desk.broker.settled)  # type: ignore[misc]
                assert desk.broker.settled[tag] == "ack"
                events += 1
        return events
