"""CDRs in a database as a FreePBX has it: ids of at most 32 characters, and a strict MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import alone
from tests.pbx.hosts import AsteriskHost, beside
from tests.pbx.linkedid import linkedid_of
from tests.pbx.mariadb import CdrDatabase, write_cdrs_to
from tests.pbx.sound import ULAW
from tests.pbx.talker import Talker
from tests.pbx.waiting import wait_until

#: What cdr_csv and the table both have, and what tells a row from all others.
COLUMNS: Final = ("uniqueid", "linkedid", "channel", "dstchannel", "dst", "disposition", "sequence")


@pytest.fixture(scope="module")
def database(asterisk: AsteriskHost) -> Iterator[CdrDatabase]:
    """The MariaDB."""
    number = int(asterisk.address.rpartition(".")[2])
    with CdrDatabase(f"127.0.2.{number}") as server:
        server.make_table()
        yield server


@pytest.fixture(scope="module")
def pbx(
    asterisk: AsteriskHost, database: CdrDatabase, request: pytest.FixtureRequest
) -> Iterator[AsteriskHost]:
    """An Asterisk of the same version, which writes there."""
    host = AsteriskHost(
        asterisk.version, beside(asterisk.address, 100), image="c2c-agent-test/asterisk-odbc"
    )
    write_cdrs_to(host, database)
    with alone(host.address, request.config), host:
        yield host


def test_it_is_strict(database: CdrDatabase) -> None:
    """An id that is too long is refused with its row, not cut."""
    with pytest.raises(AssertionError, match="Data too long"):
        database.run("INSERT INTO asteriskcdrdb.cdr (uniqueid) VALUES (repeat('x', 33))")


@pytest.mark.parametrize("first", ["100", "301"], ids=["a-phone", "outside"])
@pytest.mark.parametrize("optimize", [True, False], ids=["light", "kept"])
def test_every_row_is_there(
    pbx: AsteriskHost, database: CdrDatabase, tmp_path: Path, first: str, *, optimize: bool
) -> None:
    """Those that cdr_csv writes, which knows no bounds, and one of the call among them."""
    rules = [{"match": "_X.", "channel": "Local/{number}@{context}", "optimize": optimize}]
    rung = {"301": "101"}.get(first, first)
    place = pbx.phones_address
    with (
        AgentProcess(pbx, tmp_path, asterisk_changes={"second_leg": rules}) as agent,
        Talker(rung, place, pbx.phone_port(rung), codecs=(ULAW,)),
        Talker("200", place, pbx.phone_port("200"), codecs=(ULAW,), talk_seconds=1.5),
    ):
        request_id = agent.call(first, "200", dial_as="100")
        assert agent.ended(request_id)["outcome"] == "connected"
    wait_until(lambda: not pbx.core_show_channels(), 10, "all channels are gone")

    linkedid = linkedid_of(request_id)

    def are_equal() -> bool:
        told = [tuple(row[name] for name in COLUMNS) for row in pbx.cdrs(linkedid)]
        kept = [row for row in database.rows(*COLUMNS) if row[1] == linkedid]
        return sorted(kept) == sorted(told) != []

    wait_until(are_equal, 10, "both have the same rows")
    assert [row for row in pbx.cdrs(linkedid) if row["dst"] == "200" and row["billsec"] != "0"]


def test_longer_ids(pbx: AsteriskHost, database: CdrDatabase, tmp_path: Path) -> None:
    """Those of version 0.1, for which there was no room: of such a call no row was kept."""
    place = pbx.phones_address
    with (
        AgentProcess(pbx, tmp_path, module="tests.pbx.as_0_1") as agent,
        Talker("100", place, pbx.phone_port("100"), codecs=(ULAW,)),
        Talker("200", place, pbx.phone_port("200"), codecs=(ULAW,), talk_seconds=1.5),
    ):
        request_id = agent.call("100", "200")
        assert agent.ended(request_id)["outcome"] == "connected"
    linkedid = f"c2c-{request_id}"
    wait_until(lambda: pbx.cdrs(linkedid), 10, "cdr_csv has rows of it")
    assert linkedid not in {row[0] for row in database.rows("linkedid")}
