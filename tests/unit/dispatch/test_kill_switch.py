"""The kill switch: a file that holds, whoever made it, whatever is in it."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.dispatch.kill_switch import FILE_NAME, Stopped, StopSwitch, StopSwitchService


def test_stop_and_start(tmp_path: Path) -> None:
    """It says what was said, to every agent that looks."""
    switch = StopSwitch(tmp_path)
    assert switch.state() is None
    assert not switch.start()
    for stopped in (Stopped("a key was stolen"), Stopped(hang_up=True), Stopped()):
        switch.stop(stopped)
        assert StopSwitch(tmp_path).state() == stopped
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]
    assert switch.start()
    assert switch.state() is None


def test_in_words() -> None:
    """With the reason, where there is one."""
    assert str(Stopped("a key was stolen")) == "calls are stopped: a key was stolen"
    assert str(Stopped()) == "calls are stopped"


@pytest.mark.parametrize(
    "content", [b"", b"stop!", b"[]", b"\xff", b"{}", b'{"reason": null}', b"[" * 100_000]
)
def test_a_file_is_enough(tmp_path: Path, content: bytes) -> None:
    """`touch` stops calls, and so does whatever else is in the file."""
    (tmp_path / FILE_NAME).write_bytes(content)
    assert StopSwitch(tmp_path).state() == Stopped()


def test_what_cannot_be_read_stops_calls(tmp_path: Path) -> None:
    """In doubt nobody is rung."""
    (tmp_path / FILE_NAME).mkdir()
    stopped = StopSwitch(tmp_path).state()
    assert stopped is not None
    assert stopped.reason.endswith("cannot be read (Is a directory)")


def test_a_long_reason(tmp_path: Path) -> None:
    """It is cut: it stands in the log and in `/readyz`."""
    StopSwitch(tmp_path).stop(Stopped("x" * 10_000))
    assert StopSwitch(tmp_path).state() == Stopped("x" * 500)


def test_it_belongs_to_the_agent(tmp_path: Path) -> None:
    """Root makes it for the agent's user, who has to be able to read it, and to take it away."""
    (tmp_path / f"{FILE_NAME}.new").write_text("left by an earlier try")
    with patch("os.geteuid", return_value=0), patch("os.fchown") as chown:
        StopSwitch(tmp_path).stop(Stopped())
    [(_, user, group), _] = chown.call_args
    assert (user, group) == (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) & 0o027 == 0


def test_in_a_directory_of_another_group(tmp_path: Path) -> None:
    """The agent may not give files away, and stops calls all the same."""
    with patch("os.geteuid", return_value=12345), patch("os.fchown") as chown:
        StopSwitch(tmp_path).stop(Stopped("a key was stolen"))
    assert not chown.called
    assert StopSwitch(tmp_path).state() == Stopped("a key was stolen")


class Watching(SynchronousTestCase):
    """An agent that looks for it."""

    def setUp(self) -> None:
        """Have a switch, and two calls in progress."""
        place = TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.switch = StopSwitch(Path(place.name))
        self.clock = Clock()
        self.hung_up = 0
        self.watch = StopSwitchService(self.switch, self.hang_up, self.clock)
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def hang_up(self) -> int:
        """Hang up two calls."""
        self.hung_up += 1
        return 2

    def lines(self) -> list[str | None]:
        """What was logged."""
        return [formatEvent(event) for event in self.logged]

    def test_turned_by_somebody_else(self) -> None:
        """Within a second it is in the log; calls in progress go on."""
        self.watch.startService()
        self.switch.stop(Stopped("a key was stolen"))
        self.clock.advance(1)
        self.clock.advance(1)
        self.switch.start()
        self.clock.advance(1)
        assert self.lines() == [
            "calls are stopped: a key was stolen; no call is placed until c2c-agent start-calls",
            "calls are placed again",
        ]
        assert self.hung_up == 0
        self.watch.stopService()
        assert self.clock.getDelayedCalls() == []

    def test_turned_before_the_start(self) -> None:
        """What is in progress is hung up, once."""
        self.switch.stop(Stopped(hang_up=True))
        self.watch.startService()
        self.clock.advance(5)
        assert self.hung_up == 1
        assert self.lines()[-1] == "2 calls in progress are hung up"
        self.watch.stopService()

    def test_turned_through_the_agent(self) -> None:
        """At once, and it is told how many are hung up; a second time hangs up what came since."""
        assert self.watch.stop("x", hang_up=False) == 0
        assert self.watch.stop("x", hang_up=True) == 2
        assert self.watch.start()
        assert not self.watch.start()
        assert self.switch.state() is None

    def test_a_mistake_of_ours(self) -> None:
        """It is logged, and the switch is looked at on and on."""
        self.watch._hang_up = lambda: 1 // 0
        self.watch.startService()
        self.switch.stop(Stopped(hang_up=True))
        self.clock.advance(1)
        assert self.lines()[-1] == "a mistake where the kill switch was turned"
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        self.switch.start()
        self.clock.advance(1)
        assert self.lines()[-1] == "calls are placed again"
        self.watch.stopService()

    def test_never_started(self) -> None:
        """Where another part could not start, this one is stopped all the same."""
        self.watch.stopService()
        assert list(self.switch.file.parent.iterdir()) == []
