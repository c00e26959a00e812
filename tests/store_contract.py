"""What every store promises, whatever it is made of: the tests that each kind of store runs."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from c2c_agent.call.call import Call, CallState, Entry, Received
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.report.delivery import Report
from c2c_agent.store.call_store import Wanted
from c2c_agent.store.outbox_table import OutboxTable
from c2c_agent.store.sql_store import SqlStore
from c2c_agent.store.tokens_table import TokensTable
from tests.fakes import CRM
from tests.playbook import a_call


def call(number: int = 1, *, at: float | None = None, **changes: Any) -> Call:
    """A call that came in at a second of its own."""
    changes.setdefault("request_id", f"00000000-0000-4000-8000-{number:012}")
    received = Received(float(number) if at is None else at, "http://pbx", "GET", {})
    return a_call(**{"received": received, **changes})


def ended(one: Call, outcome: Outcome = Outcome.CONNECTED) -> Call:
    """The call, at its end."""
    return evolve(one, state=CallState.ENDED, outcome=outcome, ended_at=one.received.at + 60)


class StoreContract(TestCase):
    """One store, that is not open yet when a test begins.

    What is saved before the store is opened waits and is written as one batch: so the tests choose
    what comes into one transaction.
    """

    store: SqlStore

    @abstractmethod
    def another(self) -> SqlStore:
        """A store on the same data."""

    @abstractmethod
    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What somebody else reads."""

    @abstractmethod
    def refusing(self, what: str, table: str) -> AbstractContextManager[None]:
        """The database refuses INSERT or DELETE in a table, with "refused by a test"."""

    def opened(self) -> SqlStore:
        """The store, open until the end of the test."""
        self.store.open()
        self.addCleanup(self.store.close)
        return self.store

    def all_saved(self, *calls: Call) -> Deferred[list[None]]:
        """Save the calls, in this order."""
        return gatherResults([self.store.save(one) for one in calls], consumeErrors=True)


class Failing(StoreContract):
    """What cannot be written."""

    async def test_a_failing_transaction(self) -> None:
        """Its saves fail with the database's words and leave nothing; later ones work again."""
        store = self.opened()
        await store.save(call(1))
        with self.refusing("INSERT", "calls"):
            with pytest.raises(StoreError, match="refused by a test"):
                await store.save(call(2))
            assert "refused by a test" in str(store.last_error)
            assert await store.find(call(2).request_id) is None
            assert await store.find(call(1).request_id) == call(1)
        await store.save(call(3))
        await store.save(call(2))
        assert store.last_error is None
        assert await store.recent(10) == [call(3), call(2), call(1)]

    async def test_all_changes_of_a_transaction_fail_together(self) -> None:
        """Nobody is told that something is kept that is not."""
        self.store.open()
        self.store.close()
        self.store = self.another()
        report = Report("crm", "1", "call.ended", call(2).request_id, 5.0, "{}")
        saved = [self.store.save(call(1)), self.store.save(call(2), [report])]
        with self.refusing("INSERT", "outbox"):
            store = self.opened()
            for one in saved:
                with pytest.raises(StoreError, match="refused by a test"):
                    await one
        assert await store.recent(10) == []

    async def test_a_failing_deletion(self) -> None:
        """Who asked is told; no call fails with it, and the agent is as ready as before."""
        store = self.opened()
        one = ended(call(1))
        await store.save(one)
        with self.refusing("DELETE", "calls"):
            deleted, saved = store.delete_ended(5000.0), store.save(call(2))
            with pytest.raises(StoreError, match="refused by a test"):
                await deleted
            await saved
        assert store.last_error is None
        assert await store.recent(10) == [call(2), one]


class Keeping(StoreContract):
    """What was saved is there."""

    async def test_find(self) -> None:
        """Once saved, a call is found by its request's id; another is not."""
        store = self.opened()
        one = call(1, timeline=(Entry(1.0, "accepted"),))
        await store.save(one)
        assert await store.find(one.request_id) == one
        assert await store.find(call(2).request_id) is None

    async def test_durable(self) -> None:
        """When the Deferred has fired, the call is in the file, whatever becomes of the process."""
        self.opened()
        one, two = call(1), ended(call(2))
        await self.all_saved(one, two)
        columns = "request_id, key_name, received_at, state, outcome, ended_at"
        assert self.rows(f"SELECT {columns} FROM calls ORDER BY id") == [  # noqa: S608
            (one.request_id, "crm", 1.0, "accepted", None, None),
            (two.request_id, "crm", 2.0, "ended", "connected", 62.0),
        ]

    async def test_after_reopening(self) -> None:
        """Everything of a call comes back after a restart."""
        one, two = call(1), ended(call(2))
        self.store.open()
        await self.all_saved(one, two)
        self.store.close()
        self.store = self.another()
        store = self.opened()
        assert await store.find(one.request_id) == one
        assert await store.find(two.request_id) == two

    async def test_odd_texts(self) -> None:
        """What others sent is kept as it is, lone surrogates included."""
        data = {"dial_first": "\ud800", "a\0": ["\r\n", None, 10**30]}
        one = call(1, job=None, received=Received(1.0, "http://pbx/\ud800", "GET", data))
        store = self.opened()
        await store.save(one)
        assert await store.find(one.request_id) == one

    async def test_later_saves_replace(self) -> None:
        """A call is found as it was saved last."""
        store = self.opened()
        one = call(1)
        for state in (CallState.ACCEPTED, CallState.DIALING_FIRST, CallState.FIRST_RINGING):
            one = evolve(one, state=state)
            await store.save(one)
            assert await store.find(one.request_id) == one
        assert await store.recent(10) == [one]

    async def test_patient_saves_go_with_the_next(self) -> None:
        """What nobody waits for is durable when what was saved after it is."""
        store = self.opened()
        states = (CallState.FIRST_RINGING, CallState.FIRST_ANSWERED, CallState.CONNECTED)
        patient = [store.save(call(1, state=state), patient=True) for state in states]
        assert not any(saved.called for saved in patient)
        await store.save(call(2))
        assert all(saved.called for saved in patient)
        assert await store.find(call(1).request_id) == call(1, state=CallState.CONNECTED)

    async def test_patient_saves_hurry(self) -> None:
        """As soon as somebody waits for them after all."""
        store = self.opened()
        saved = store.save(call(1), patient=True)
        store.hurry()
        await store.write(lambda _: None)  # goes behind what the writer has
        assert saved.called

    async def test_patient_saves_do_not_wait_for_ever(self) -> None:
        """Where nothing else is saved, they are written all the same; and before a change."""
        store = self.opened()
        await store.save(call(1), patient=True)
        assert await store.find(call(1).request_id) == call(1)
        store.save(call(2), patient=True)
        count = "SELECT count(*) FROM calls"
        assert (await store.write(lambda writer: writer.execute(count).fetchone()))[0] == 2

    async def test_patient_saves_at_the_end(self) -> None:
        """A store that is closed has written them."""
        self.store.open()
        saved = self.store.save(call(1), patient=True)
        self.store.close()
        await saved
        assert self.rows("SELECT request_id FROM calls") == [(call(1).request_id,)]

    async def test_an_end_is_final(self) -> None:
        """An ended call is changed by nothing that is saved later."""
        store = self.opened()
        one = ended(call(1))
        await store.save(one)
        await store.save(evolve(one, state=CallState.CONNECTED, outcome=None))
        await store.save(ended(one, Outcome.UNKNOWN))
        assert await store.find(one.request_id) == one

    async def test_an_end_is_final_within_a_transaction(self) -> None:
        """Nor by what is saved in the same moment."""
        one = ended(call(1))
        saved = self.all_saved(
            call(1), one, evolve(one, state=CallState.CONNECTED), ended(one, Outcome.UNKNOWN)
        )
        store = self.opened()
        await saved
        assert await store.find(one.request_id) == one

    async def test_close_writes_what_is_waiting(self) -> None:
        """Also when nobody waits for it any more."""
        calls = [call(number) for number in range(1, 1200)]
        saved = self.all_saved(*calls)
        self.store.open()
        self.store.close()
        assert self.rows("SELECT count(*) FROM calls") == [(len(calls),)]
        await saved

    async def test_nothing_is_saved_after_the_close(self) -> None:
        """Who saves too late is told so, and does not wait for ever."""
        self.store.open()
        self.store.close()
        with pytest.raises(StoreError, match="closed"):
            await self.store.save(a_call())


class Looking(StoreContract):
    """Calls that are looked for."""

    @staticmethod
    def numbers(first: str, second: str) -> CallJob:
        """A job for these."""
        return CallJob(first, second, first, 30)

    async def test_what_is_wanted(self) -> None:
        """Each condition by itself, and all together; the newest first."""
        store = self.opened()
        one = ended(call(1, job=self.numbers("100", "0301")), Outcome.SECOND_BUSY)
        two = ended(call(2, job=self.numbers("101", "0302"), key="shop"))
        three = call(3, job=self.numbers("0301", "101"))
        four = ended(call(4, job=None), Outcome.REJECTED)
        await self.all_saved(one, two, three, four)
        for wanted, found in (
            (Wanted(), [four, three, two, one]),
            (Wanted(since=2.0), [four, three, two]),
            (Wanted(until=2.0), [one]),
            (Wanted(since=2.0, until=4.0), [three, two]),
            (Wanted(number="0301"), [three, one]),
            (Wanted(number="101", until=3.0), [two]),
            (Wanted(outcome=Outcome.REJECTED), [four]),
            (Wanted(outcome=Outcome.CONNECTED, number="0301"), []),
        ):
            assert await store.recent(10, wanted=wanted) == found, wanted
        assert await store.recent(10, "shop", Wanted(since=1.0)) == [two]
        assert await store.recent(1, "crm", Wanted(until=3.0)) == [one]

    async def test_page_by_page(self) -> None:
        """Each call is in one page, also those that came in at the same moment."""
        store = self.opened()
        calls = [call(number, at=float(number // 3)) for number in range(1, 10)]
        await self.all_saved(*calls)
        pages: list[Call] = []
        after = None
        while page := await store.recent(2, wanted=Wanted(after=after)):
            pages += page
            after = (page[-1].received.at, page[-1].request_id)
        assert pages == await store.recent(10) == calls[::-1]


class Repeated(StoreContract):
    """The same two numbers again."""

    KEY = evolve(CRM, repeat_window=5)

    async def claimed(self, number: int, at: float, key: Key | None = KEY, **changes: Any) -> Any:
        """What becomes of a request that comes in at that moment."""
        one = call(number, at=at, **changes)
        return await self.store.claim(one, key, CallsConfig())

    async def test_within_the_window(self) -> None:
        """It is the earlier call; under its own id it is no repetition."""
        store = self.opened()
        one = call(1, at=100.0)
        await store.save(one)
        found = await self.claimed(2, 104.9)
        assert (found.earlier, found.repeated) == (one, True)
        assert await store.find(call(2).request_id) is None
        found = await self.claimed(1, 104.9)
        assert (found.earlier, found.repeated) == (one, False)

    async def test_another(self) -> None:
        """Too late, of another key, other numbers, or of a key that has no window."""
        store = self.opened()
        await store.save(call(1, at=100.0))
        other = CallJob("100", "201", "100", 30)
        assert (await self.claimed(2, 105.0)).earlier is None
        assert (await self.claimed(3, 101.0, evolve(self.KEY, repeat_window=0))).earlier is None
        assert (await self.claimed(4, 101.0, None)).earlier is None
        assert (await self.claimed(5, 101.0, key=self.KEY, job=other)).earlier is None
        named = evolve(self.KEY, name="shop")
        found = await store.claim(call(6, at=101.0, key="shop"), named, CallsConfig())
        assert found.earlier is None

    async def test_what_was_no_call(self) -> None:
        """After a refusal another try is one."""
        store = self.opened()
        outcomes = (Outcome.REJECTED, Outcome.EXPIRED, Outcome.PBX_ERROR)
        for number, outcome in enumerate(outcomes, 1):
            await store.save(ended(call(number, at=100.0), outcome))
        assert (await self.claimed(9, 101.0)).earlier is None
        await store.save(ended(call(8, at=100.0), Outcome.FIRST_BUSY))
        assert (await self.claimed(10, 101.0)).repeated


class Tokens(StoreContract):
    """What is known of tokens."""

    async def test_uses(self) -> None:
        """So many, counted for each token of each key; also by several at once."""
        tokens = TokensTable(self.opened())
        taken = await gatherResults([tokens.use("crm", "one", 3, 100.0) for _ in range(5)])
        assert sorted(taken) == [False, False, True, True, True]
        assert await tokens.use("shop", "one", 3, 100.0)
        assert await tokens.use("crm", "two", 1, 100.0)
        assert not await tokens.use("crm", "two", 1, 100.0)

    async def test_revoked(self) -> None:
        """It has no uses any more; another key's of the same id is another."""
        tokens = TokensTable(self.opened())
        assert not await tokens.is_revoked("crm", "one")
        assert await tokens.use("crm", "one", 9, 100.0)
        assert not await tokens.is_revoked("crm", "one")
        for token in ("one", "unknown", "one"):
            await tokens.revoke("crm", token, 100.0)
            assert await tokens.is_revoked("crm", token)
            assert not await tokens.use("crm", token, 9, 100.0)
        assert not await tokens.is_revoked("shop", "one")

    async def test_after_reopening(self) -> None:
        """All of it survives."""
        self.store.open()
        tokens = TokensTable(self.store)
        await tokens.use("crm", "one", 1, 100.0)
        await tokens.revoke("crm", "two", 100.0)
        self.store.close()
        self.store = self.another()
        tokens = TokensTable(self.opened())
        assert not await tokens.use("crm", "one", 1, 100.0)
        assert await tokens.is_revoked("crm", "two")

    async def test_old_ones(self) -> None:
        """What has expired is deleted, and nothing else."""
        tokens = TokensTable(self.opened())
        await tokens.revoke("crm", "old", 99.0)
        await tokens.revoke("crm", "new", 100.0)
        assert await tokens.delete_old(100.0) == 1
        assert await tokens.is_revoked("crm", "new")
        assert not await tokens.is_revoked("crm", "old")


class Reports(StoreContract):
    """What is to be told of a change comes into the store with it, or not at all."""

    def report(
        self, event: str, target: str = "crm", at: float = 5.0, kind: str = "call.ended"
    ) -> Report:
        """A report of the first call."""
        return Report(target, event, kind, call(1).request_id, at, "{}")

    def waiting(self) -> list[tuple[str, str]]:
        """The events in the file, in order."""
        return self.rows("SELECT target, event_id FROM outbox ORDER BY id")

    async def test_owed(self) -> None:
        """Where the change could not be stored, its reports come with the next one, in order."""
        store = self.opened()
        await store.save(call(1), [self.report("1")])
        with self.refusing("INSERT", "outbox"):
            with pytest.raises(StoreError, match="refused by a test"):
                await store.save(ended(call(1)), [self.report("2"), self.report("3")])
            assert await store.find(call(1).request_id) == call(1)
        await store.save(ended(call(1)), [self.report("4")])
        assert [event for _, event in self.waiting()] == ["1", "2", "3", "4"]

    async def test_owed_with_its_own_call(self) -> None:
        """Not with another's: whether a refusal is one is asked of the call's row."""
        store = self.opened()
        refused = ended(call(1), Outcome.REJECTED)
        with self.refusing("INSERT", "outbox"), pytest.raises(StoreError, match="refused by"):
            await store.save(refused, [self.report("1", kind="call.rejected")])
        await store.save(call(2))
        assert self.waiting() == []
        await store.save(refused)
        assert self.waiting() == [("crm", "1")]

    async def test_listed(self) -> None:
        """The newest first; of a key's calls, page by page, those that wait or were given up."""
        store = self.opened()
        table = OutboxTable(store)
        await store.save(call(1), [self.report("1"), self.report("2", "shop")])
        other = Report("crm", "3", "call.ended", call(2).request_id, 6.0, "{}")
        await store.save(call(2, key="shop"), [other])
        [waiting], _ = await table.due("shop", 10.0, 5)
        await table.bury(waiting, 20.0, "HTTP 500")

        async def listed(
            most: int = 9,
            key_name: str | None = None,
            before: int | None = None,
            dead: bool | None = None,
        ) -> list[str]:
            found = await table.listed(most, key_name=key_name, before=before, dead=dead)
            return [one.event_id for one in found]

        assert await listed() == ["3", "2", "1"]
        assert await listed(key_name="crm") == ["2", "1"]
        assert await listed(dead=True) == ["2"]
        assert await listed(dead=False) == ["3", "1"]
        [newest] = await table.listed(1, key_name=None, before=None, dead=None)
        assert await listed(before=newest.number) == ["2", "1"]
        [dead] = await table.listed(1, key_name="crm", before=None, dead=True)
        assert (dead.dead_at, dead.attempts, dead.reason) == (20.0, 1, "HTTP 500")

    async def test_told_once(self) -> None:
        """An event that is made again, as after a crash, is the same."""
        store = self.opened()
        await store.save(call(1), [self.report("1")])
        await store.save(call(1), [self.report("1"), self.report("1", "shop")])
        assert self.waiting() == [("crm", "1"), ("shop", "1")]

    async def test_refused(self) -> None:
        """With the call that was refused."""
        store = self.opened()
        refused = ended(call(1), Outcome.REJECTED)
        await store.save(refused, [self.report("1", kind="call.rejected")])
        assert self.rows("SELECT type, created_at, due_at, body, attempts FROM outbox") == [
            ("call.rejected", 5.0, 5.0, "{}", 0)
        ]

    async def test_not_refused_at_all(self) -> None:
        """A request that had ended, and was refused while the store could not be asked."""
        store = self.opened()
        await store.save(ended(call(1)), [self.report("1")])
        refused = ended(call(1), Outcome.REJECTED)
        await store.save(refused, [self.report("2", kind="call.rejected")])
        assert await store.find(call(1).request_id) == ended(call(1))
        assert self.waiting() == [("crm", "1")]

    async def test_due_with_what_waits(self) -> None:
        """While an earlier report of the request is postponed, a new one is not due either."""
        store = self.opened()
        await store.save(call(1), [self.report("1")])
        await store.write(lambda writer: writer.execute("UPDATE outbox SET due_at = 900").rowcount)
        await store.save(ended(call(1)), [self.report("2"), self.report("1", "shop")])
        due = await store.read(
            lambda reader: reader.execute(
                "SELECT target, event_id, due_at FROM outbox ORDER BY id"
            ).fetchall()
        )
        assert due == [("crm", "1", 900.0), ("crm", "2", 900.0), ("shop", "1", 5.0)]


class Deleting(StoreContract):
    """Calls that ended long ago."""

    async def test_only_what_ended_before(self) -> None:
        """Not what ended later, and nothing that has not ended, however old it is."""
        store = self.opened()
        running = [
            call(number, state=state, at=0.5)
            for number, state in enumerate(CallState, 1)
            if state is not CallState.ENDED
        ]
        old, later, last = (ended(call(number)) for number in (101, 102, 103))
        await self.all_saved(*running, old, later, last)
        assert await store.delete_ended(162.0) == 1
        assert await store.find(old.request_id) is None
        assert store.unfinished() == running
        assert await store.recent(2) == [last, later]
        assert await store.delete_ended(162.0) == 0

    async def test_a_long_talk(self) -> None:
        """It counts when a call ended, not when it came in."""
        store = self.opened()
        talk = evolve(ended(call(1)), ended_at=5000.0)
        await store.save(talk)
        assert await store.delete_ended(5000.0) == 0
        assert await store.delete_ended(5000.5) == 1

    async def test_calls_go_first(self) -> None:
        """What is saved in the same moment is committed before anything is deleted."""
        calls = [ended(call(number)) for number in range(1, 4)]
        deleted = self.store.delete_ended(5000.0)
        saved = self.all_saved(*calls)
        self.opened()
        await saved
        assert await deleted == 3

    async def test_at_the_close(self) -> None:
        """A step that was asked for before is done; a later one is refused."""
        self.store.open()
        await self.store.save(ended(call(1)))
        deleted = self.store.delete_ended(5000.0)
        self.store.close()
        assert await deleted == 1
        with pytest.raises(StoreError, match="closed"):
            await self.store.delete_ended(5000.0)

    async def test_a_request_id_is_free_again(self) -> None:
        """What was deleted is forgotten: the same request is a new one."""
        store = self.opened()
        await store.save(ended(call(1)))
        await store.delete_ended(5000.0)
        await store.save(call(1))
        assert await store.find(call(1).request_id) == call(1)


class Finding(StoreContract):
    """Lists of calls."""

    async def test_recent(self) -> None:
        """The latest first, of one key or of all, no more than wanted."""
        store = self.opened()
        first, second, third = call(1), call(2, key="shop"), ended(call(3))
        await self.all_saved(second, third, first)
        assert await store.recent(10) == [third, second, first]
        assert await store.recent(2) == [third, second]
        assert await store.recent(0) == []
        assert await store.recent(10, "crm") == [third, first]
        assert await store.recent(1, "crm") == [third]
        assert await store.recent(10, "nobody") == []

    async def test_unfinished(self) -> None:
        """What was in progress when the agent stopped, in order of arrival, and nothing else."""
        store = self.opened()
        assert store.unfinished() == []
        states = [state for state in CallState if state is not CallState.ENDED]
        calls = [call(number, state=state) for number, state in enumerate(states, 1)]
        late = call(90, at=0.5)
        await self.all_saved(*calls, late)
        await self.all_saved(ended(call(91)), ended(calls[2]))
        assert store.unfinished() == [*calls[:2], *calls[3:], late]

    async def test_placed_since(self) -> None:
        """Key and time of requests that were not refused, the oldest first."""
        store = self.opened()
        await self.all_saved(
            call(5, at=30.0, key="shop"),
            call(1, at=10.0),
            call(2, at=10.5),
            ended(call(3, at=20.0)),
            ended(call(4, at=25.0), Outcome.REJECTED),
        )
        assert store.placed_since(10.0) == [("crm", 10.5), ("crm", 20.0), ("shop", 30.0)]
        assert store.placed_since(30.0) == []
