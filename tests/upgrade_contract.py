"""What every store of 0.1.0 has to be after the upgrade: told of as 0.1.0 told it.

`tests/v0_1_0` has what 0.1.0 wrote. A later version may tell more than 0.1.0 did, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from c2c_agent.store.outbox_table import OutboxTable
from c2c_agent.web import answers

if TYPE_CHECKING:
    from c2c_agent.store.sql_store import SqlStore

WRITTEN: Final = Path(__file__).parent / "v0_1_0"
TOLD: Final = json.loads((WRITTEN / "told.json").read_text(encoding="utf-8"))

#: Epoch seconds at which every report of the store is due.
_LATE: Final = 1_796_418_218.25 + 1


def assert_told(before: object, now: object, place: str = "") -> None:
    """All that was told before is told now, in the same words; more may be told now."""
    if isinstance(before, dict) and isinstance(now, Mapping):
        for name, value in before.items():
            assert name in now, f"{place}.{name} is gone"
            assert_told(value, now[name], f"{place}.{name}")
    elif isinstance(before, list) and isinstance(now, list):
        assert len(before) == len(now), place
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            assert_told(one, other, f"{place}[{index}]")
    else:
        assert now == before, f"{place}: {now!r}, and {before!r} before"


class StoreOf010:
    """What is in the store that 0.1.0 wrote; `store` is that of today, open on it."""

    store: SqlStore

    async def test_calls(self) -> None:
        """Each call has the status that it had."""
        for told in TOLD["calls"]:
            call = await self.store.find(told["request_id"])
            assert call is not None, told["story"]
            assert call.key == told["key"]
            assert_told(told["status"], answers.status(call), told["story"])

    def test_unfinished(self) -> None:
        """The calls that have to be settled after the start are those that had to be."""
        assert [call.request_id for call in self.store.unfinished()] == TOLD["unfinished"]

    async def test_reports(self) -> None:
        """What waits for receivers still waits, and what was given up still can be replayed."""
        outbox = OutboxTable(self.store)
        depths = await outbox.depths()
        told = {name: [one.waiting, one.dead, one.oldest_at] for name, one in depths.items()}
        assert told == TOLD["depths"]
        for target, due in TOLD["due"].items():
            waiting, _ = await outbox.due(target, _LATE, 100)
            heads = {one.report.request_id: one for one in reversed(waiting)}  # told first
            reports = [(one.report, one.attempts) for one in waiting if one in heads.values()]
            assert [
                [report.event_id, report.type, report.request_id, attempts]
                for report, attempts in reports
            ] == due
            for report, _ in reports:
                assert json.loads(report.body)["id"] == report.event_id
        assert await outbox.replay(_LATE, "books") == TOLD["depths"]["books"][1]
