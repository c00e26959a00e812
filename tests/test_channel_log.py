"""What Asterisk's records of its channels say, line by line as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pbx import channel_log
from tests.pbx.channel_log import ChannelLog, Record, parse

START = '"CHAN_START","1796041294.052073","x1",""\n'
ENTER = (
    '"BRIDGE_ENTER","1796041294.500000","x1",'
    '"{""bridge_id"":""b-1"",""bridge_technology"":""simple_bridge""}"\n'
)
HANGUP = (
    '"HANGUP","1796041295.555274","x1",'
    '"{""hangupcause"":16,""hangupsource"":"""",""dialstatus"":""""}"\n'
)
OTHER = '"HANGUP","1796041295.555293","x1;2",""\n'


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (START, Record("CHAN_START", 294.052073, "x1", None)),
        (ENTER, Record("BRIDGE_ENTER", 294.5, "x1", "b-1")),
        (HANGUP, Record("HANGUP", 295.555274, "x1", None)),
    ],
)
def test_a_line(line: str, record: Record) -> None:
    """Kind, moment, channel, and bridge, if it is about one."""
    read = parse(line, off=1796041000.0)
    assert read.at == pytest.approx(record.at, abs=1e-5)
    assert (read.kind, read.channel, read.bridge) == (record.kind, record.channel, record.bridge)


def test_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where it is now on, and a line that is half there is read when it is whole."""
    monkeypatch.setattr(channel_log, "ahead", lambda: 1796041000.0)
    path = tmp_path / "channels.csv"
    path.write_text('"HANGUP","1796041200.000000","x1",""\n', encoding="utf-8")
    log = ChannelLog(path)
    assert log.of("x1") == []
    with path.open("a", encoding="utf-8") as file:
        file.write(START + OTHER + HANGUP[:30])
        file.flush()
        assert [record.kind for record in log.of("x1")] == ["CHAN_START"]
        file.write(HANGUP[30:])
        file.flush()
        assert [record.kind for record in log.of("x1")] == ["CHAN_START", "HANGUP"]
    assert [record.kind for record in log.of("x1;2")] == ["HANGUP"]
    assert log.of("x1")[0].at == pytest.approx(294.052073, abs=1e-5)


def test_before_anything_is_written(tmp_path: Path) -> None:
    """Asterisk makes the file with its first record."""
    path = tmp_path / "channels.csv"
    log = ChannelLog(path)
    assert log.of("x1") == []
    path.write_text(START, encoding="utf-8")
    assert len(log.of("x1")) == 1
