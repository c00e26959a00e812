"""The log: one line an event, whatever stands in it, with numbers hidden unless wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from zope.interface.verify import verifyObject

from c2c_agent.host.log import NUMBERS, LineObserver, mask, start

NUMBERED = {"dial_first": "100", "dial_second": "+4930123456", "dial_as": "alice"}
FORMAT = "{dial_first} to {dial_second} as {dial_as}"


def written(*, full_numbers: bool = False, journal: bool = True, event: dict[str, Any]) -> str:
    """What is written of an event at 2015-06-30 01:48:57.123 UTC."""
    stream = StringIO()
    observer = LineObserver(stream, full_numbers=full_numbers, journal=journal)
    observer({"log_level": LogLevel.info, "log_time": 1435628937.123, **event})
    return stream.getvalue()


def logger(*, namespace: str = "c2c_agent.x", journal: bool = True) -> tuple[Logger, StringIO]:
    """A logger, and the stream where its lines go."""
    stream = StringIO()
    observer = LineObserver(stream, full_numbers=False, journal=journal)
    return Logger(namespace, observer=observer), stream


class TestNumbers:
    """Telephone numbers in events."""

    @pytest.mark.parametrize(
        ("number", "masked"),
        [
            ("1", "1"),
            ("10", "*0"),
            ("100", "**0"),
            ("1234", "***4"),
            ("12345", "***45"),
            ("+4930123456", "*********56"),
            ("alice", "***ce"),
        ],
    )
    def test_mask(self, number: str, masked: str) -> None:
        """Enough stays to know one's own number again, and the length."""
        assert mask(number) == masked

    def test_masked(self) -> None:
        """Under each of the three names, and nowhere more than the end of it."""
        line = written(event={"log_format": FORMAT, **NUMBERED})
        assert line == "<6>**0 to *********56 as ***ce\n"

    def test_full(self) -> None:
        """Where the configuration wants them."""
        line = written(full_numbers=True, event={"log_format": FORMAT, **NUMBERED})
        assert line == "<6>100 to +4930123456 as alice\n"

    @pytest.mark.parametrize("name", NUMBERS)
    @pytest.mark.parametrize("nothing", [None, ""])
    def test_no_number(self, name: str, nothing: str | None) -> None:
        """A call that was no valid job has none, and is logged all the same."""
        line = written(event={"log_format": "[{" + name + "}]", name: nothing})
        assert line == f"<6>[{nothing}]\n"

    def test_the_event_itself_stays(self) -> None:
        """Other observers see it as it was."""
        event = {"log_format": FORMAT, "log_level": LogLevel.info, **NUMBERED}
        before = dict(event)
        LineObserver(StringIO(), full_numbers=False, journal=True)(event)
        assert event == before

    def test_an_event_that_cannot_be_formatted(self) -> None:
        """Twisted shows all of it then: with the numbers masked, too."""
        line = written(event={"log_format": "{nothing.like.it}", **NUMBERED})
        assert "Unable to format event" in line
        assert "4930123456" not in line
        assert line.count("\n") == 1


class TestLines:
    """One event, one line."""

    def test_for_the_journal(self) -> None:
        """Priority and text; the journal knows the time."""
        assert written(event={"log_format": "started"}) == "<6>started\n"

    def test_for_people(self) -> None:
        """Time with its zone, level, text."""
        assert written(journal=False, event={"log_format": "started"}) == (
            "2015-06-30T01:48:57.123+00:00 info  started\n"
        )

    @pytest.mark.parametrize(
        ("level", "priority"),
        [
            (LogLevel.debug, 7),
            (LogLevel.info, 6),
            (LogLevel.warn, 4),
            (LogLevel.error, 3),
            (LogLevel.critical, 2),
            (None, 6),
        ],
    )
    def test_priorities(self, level: Any, priority: int) -> None:
        """Those of syslog(3); an event without a level is information."""
        line = written(event={"log_format": "x", "log_level": level})
        assert line == f"<{priority}>x\n"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a\nb", "a | b"),
            ("a\r\n\r\n  \nb\n", "a | b"),
            ("a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g", "a | b | c | d | e | f | g"),
            ("\x1b[31mred\x07", "?[31mred?"),
            ("a\0b\tc\x7f", "a?b?c?"),
            ("\u202egnp.exe", "?gnp.exe"),
            ("\ud800", "?"),
            ("Zo\u00eb \u4e2d {x}", "Zo\u00eb \u4e2d {x}"),
            ("", ""),
        ],
    )
    def test_what_others_sent(self, text: str, line: str) -> None:
        """No line break, no terminal's escape, no trick with the direction of writing."""
        assert written(event={"log_format": "{name}", "name": text}) == f"<6>{line}\n"

    @settings(deadline=None)
    @given(text=st.text(st.characters(exclude_categories=[])), full=st.booleans())
    def test_whatever_stands_in_an_event(self, text: str, full: bool) -> None:
        """It makes one line, in which every letter can be printed."""
        for journal, begin in ((True, "<6>"), (False, "2015-06-30T01:48:57.123+00:00 info  ")):
            line = written(
                full_numbers=full,
                journal=journal,
                event={"log_format": "{text} {dial_first}", "text": text, "dial_first": text},
            )
            assert line.startswith(begin)
            assert line.endswith("\n")
            assert line[:-1].isprintable()

    def test_traceback(self) -> None:
        """On the same line, with what went wrong and where."""
        log, stream = logger()
        try:
            raise ValueError("first\nsecond")  # noqa: TRY301 - it is to have a traceback
        except ValueError:
            log.failure("call {call} failed", call="1")
        (line,) = stream.getvalue().splitlines()
        assert line.startswith("<2>call 1 failed | Traceback")
        assert "test_log.py" in line
        assert "builtins.ValueError: first | second" in line

    def test_every_line_is_flushed(self) -> None:
        """What happened just before a crash is in the log, too."""
        flushed: list[str] = []

        class Stream(StringIO):
            def flush(self) -> None:
                flushed.append(self.getvalue())

        observer = LineObserver(Stream(), full_numbers=False, journal=True)
        observer({"log_format": "x", "log_level": LogLevel.info, "log_time": 0.0})
        assert flushed == ["<6>x\n"]

    def test_is_an_observer(self) -> None:
        """Twisted's publisher takes it."""
        assert verifyObject(
            ILogObserver, LineObserver(StringIO(), full_numbers=False, journal=True)
        )


class FileLike(StringIO):
    """A stream in memory that has a file's number, as a terminal or the journal's socket has."""

    def fileno(self) -> int:
        """A file that is always there."""
        return 0


class TestStart:
    """What is logged, and in which form."""

    def begun(
        self, level: str, monkeypatch: pytest.MonkeyPatch, *, journal: bool = True
    ) -> tuple[Callable[..., Logger], FileLike]:
        """Loggers by namespace, and the stream, after the log was started at a level."""
        stream = FileLike()
        status = os.fstat(stream.fileno())
        where = status.st_ino if journal else status.st_ino + 1
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{where}")
        publisher = LogPublisher()

        def begin(observers: list[ILogObserver], *, redirectStandardIO: bool) -> None:  # noqa: N803
            assert not redirectStandardIO  # who prints, such as `check`, prints to the terminal
            for observer in observers:
                publisher.addObserver(observer)

        start(level, full_numbers=False, stream=stream, begin=begin)
        return lambda namespace: Logger(namespace, observer=publisher), stream

    @pytest.mark.parametrize(
        ("level", "own", "of_twisted"),
        [
            ("debug", "76432", "432"),
            ("info", "6432", "432"),
            ("warn", "432", "432"),
            ("error", "32", "32"),
        ],
    )
    def test_levels(
        self, level: str, own: str, of_twisted: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is of the level or above; of Twisted's own no more than warnings."""
        for namespace, expected in (
            ("c2c_agent.service.agent", own),
            ("twisted.internet.tcp.Port", of_twisted),
            ("log_legacy", of_twisted),
        ):
            loggers, stream = self.begun(level, monkeypatch)
            log = loggers(namespace)
            for emit in (log.debug, log.info, log.warn, log.error, log.critical):
                emit("x")
            assert re.findall("<([0-7])>x\n", stream.getvalue()) == list(expected)

    def test_under_systemd_and_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Priorities where the journal listens, else times."""
        loggers, stream = self.begun("info", monkeypatch)
        loggers("c2c_agent").info("x")
        assert stream.getvalue() == "<6>x\n"
        loggers, stream = self.begun("info", monkeypatch, journal=False)
        loggers("c2c_agent").info("x")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 info  x\n", stream.getvalue())

    def test_change(self) -> None:
        """What is shown may become more or less while it is written."""
        publisher = LogPublisher()
        stream = StringIO()
        begun = start(
            "warn",
            full_numbers=False,
            stream=stream,
            begin=lambda observers, **_: publisher.addObserver(observers[0]),
        )
        log = Logger("c2c_agent", observer=publisher)
        log.info("to {dial_first}", dial_first="12345")
        begun.change("info", full_numbers=True)
        log.info("to {dial_first}", dial_first="12345")
        begun.change("error", full_numbers=True)
        log.warn("x")
        assert [line.split()[-2:] for line in stream.getvalue().splitlines()] == [["to", "12345"]]

    def test_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It is where the lines go if nothing else is said."""
        publisher = LogPublisher()
        start(
            "info",
            full_numbers=True,
            begin=lambda observers, **_: publisher.addObserver(observers[0]),
        )
        Logger("c2c_agent", observer=publisher).info("to {dial_first}", dial_first="12345")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.endswith("to 12345\n")
