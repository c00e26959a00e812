"""`c2c-agent run`: with a reactor in memory, and as a process of its own."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from tests.unit.cli.prompt import assert_plain_error, configure, free_port, run


class TestRun:
    """`c2c-agent run`, with a reactor that only remembers what it was asked for."""

    @pytest.fixture
    def reactor(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """That reactor; and the log that would have begun."""
        memory: Any = MemoryReactorClock()
        memory.callFromThread = lambda *_: None  # nothing waits for what the store's threads say
        monkeypatch.setattr("twisted.internet.reactor", memory, raising=False)
        memory.log = []
        monkeypatch.setattr(
            "c2c_agent.host.log.start",
            lambda level, *, full_numbers: memory.log.append((level, full_numbers)),
        )
        memory.signals = {}
        really = signal.signal

        def note(number: signal.Signals, handler: Any) -> Any:
            """Keep what the agent sets; others set theirs."""
            if number is not signal.SIGHUP:
                return really(number, handler)
            return memory.signals.setdefault(number, handler)

        monkeypatch.setattr(signal, "signal", note)
        return memory

    def test_runs(self, tmp_path: Path, reactor: Any) -> None:
        """It listens and runs; what stops the reactor stops the agent first."""
        configure(tmp_path, http={"listen": "tcp:8470:interface=127.0.0.1"})
        done = run(tmp_path, "run")
        assert (done.exit_code, done.output) == (0, "")
        assert reactor.hasRun
        [(port, _, _, interface)] = reactor.tcpServers
        assert (port, interface) == (8470, "127.0.0.1")
        assert list(reactor.signals) == [signal.SIGHUP]
        [(stop, _, _)] = reactor.triggers["before"]["shutdown"]
        stopped: list[object] = []
        stop().addBoth(stopped.append)
        assert stopped == [None]

    @pytest.mark.parametrize(("numbers", "full"), [("masked", False), ("full", True)])
    def test_log(self, tmp_path: Path, reactor: Any, numbers: str, full: bool) -> None:
        """As the configuration has it."""
        configure(tmp_path, log={"level": "warn", "numbers": numbers})
        run(tmp_path, "run")
        assert reactor.log == [("warn", full)]
        self.stop(reactor)

    def stop(self, reactor: Any) -> None:
        """Stop what runs."""
        for stop, _, _ in reactor.triggers["before"]["shutdown"]:
            stop()

    def test_bad_configuration(self, tmp_path: Path, reactor: Any) -> None:
        """Nothing is begun."""
        configure(tmp_path, calls={"timeout": "soon"})
        assert_plain_error(run(tmp_path, "run"), "calls.timeout")
        assert reactor.log == []
        assert not reactor.hasRun

    @pytest.mark.parametrize(
        ("listen", "named"),
        [
            ("nonsense", "'nonsense'"),
            ("tcp:http", "'tcp:http'"),
            ("ssl:8470:privateKey=/nonexistent", "/nonexistent"),
        ],
    )
    def test_no_place_to_listen(
        self, tmp_path: Path, reactor: Any, listen: str, named: str
    ) -> None:
        """What cannot be listened on is said as a fault of the configuration."""
        configure(tmp_path, http={"listen": listen})
        assert_plain_error(run(tmp_path, "run"), "http.listen", named)
        assert not reactor.hasRun

    @pytest.mark.parametrize(
        "error",
        [
            CannotListenError("127.0.0.1", 8470, OSError(98, "Address already in use")),
            OSError(2, "No such file or directory"),
            OverflowError("port must be 0-65535."),
        ],
    )
    def test_cannot_listen(self, tmp_path: Path, reactor: Any, error: Exception) -> None:
        """Whatever the listener says, in one line."""

        def refuse(*_: object, **__: object) -> None:
            raise error

        reactor.listenTCP = refuse
        configure(tmp_path)
        assert_plain_error(run(tmp_path, "run"), str(error))
        assert not reactor.hasRun

    @pytest.mark.parametrize(
        ("port", "setting"), [(8470, "http.listen"), (8475, "asterisk.agi.listen")]
    )
    def test_another_program(self, tmp_path: Path, reactor: Any, port: int, setting: str) -> None:
        """A port that is taken: which setting names it, and what to do."""
        listen = reactor.listenTCP

        def refuse(its_port: int, *more: Any, **how: Any) -> Any:
            if its_port == port:
                taken = OSError(98, "Address already in use")
                raise CannotListenError("127.0.0.1", port, taken)
            return listen(its_port, *more, **how)

        reactor.listenTCP = refuse
        (tmp_path / "ami.secret").write_text("hush")
        ami = {"secret_file": str(tmp_path / "ami.secret")}
        configure(tmp_path, asterisk={"ami": ami})
        done = run(tmp_path, "run")
        assert_plain_error(done, f"{setting}: ", str(port), "Another program listens there")
        assert ("FreePBX" in done.stderr) is (port == 8475)
        assert not reactor.hasRun

    def test_no_store(self, tmp_path: Path, reactor: Any) -> None:
        """A store that cannot be is named."""
        (tmp_path / "file").write_text("")
        configure(tmp_path, store={"path": str(tmp_path / "file" / "c2c.sqlite3")})
        assert_plain_error(run(tmp_path, "run"), str(tmp_path / "file"))
        assert not reactor.hasRun

    def test_no_database(self, tmp_path: Path, reactor: Any) -> None:
        """A database that cannot be reached is named, with what the system says of it."""
        url = "postgresql://c2c@127.0.0.1:9/c2c"
        configure(tmp_path, store={"url": url, "directory": str(tmp_path)})
        assert_plain_error(run(tmp_path, "run"), url, "Connection refused")
        assert not reactor.hasRun

    def test_a_store_that_is_none(self, tmp_path: Path, reactor: Any) -> None:
        """So is a file that is something else."""
        (tmp_path / "c2c.sqlite3").write_text("something else, and long enough to be read" * 100)
        configure(tmp_path)
        assert_plain_error(run(tmp_path, "run"), str(tmp_path / "c2c.sqlite3"))
        assert not reactor.hasRun


class TestProcess:
    """`c2c-agent run` as a process of its own."""

    @contextmanager
    def started(self, file: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start it as systemd does; it does not outlive the test."""
        reader, writer = os.pipe()
        journal = os.fstat(writer)
        command = [sys.executable, "-m", "c2c_agent", "run", "--config", str(file)]
        environment = {**os.environ, "JOURNAL_STREAM": f"{journal.st_dev}:{journal.st_ino}"}
        environment |= more
        with os.fdopen(reader) as log:
            process = subprocess.Popen(command, stderr=writer, text=True, env=environment)
            os.close(writer)
            process.stderr = log
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def test_from_start_to_stop(self, tmp_path: Path) -> None:
        """It answers, and ends in peace when systemd asks it to."""
        port = free_port()
        with self.started(configure(tmp_path, http={"listen": f"tcp:{port}"})) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "<6>started; 0 calls were in progress before\n"
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as healthz:
                assert json.load(healthz) == {"status": "ok"}
            process.send_signal(signal.SIGTERM)
            assert process.stderr.read() == "<6>stopping; 0 calls go on\n"
            assert process.wait() == 0

    def test_supervised(self, tmp_path: Path) -> None:
        """Systemd hears when it is ready, reloaded and stopping; a bad file does not end it."""
        file = configure(tmp_path, http={"listen": f"tcp:{free_port()}"})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.settimeout(60)
            with self.started(file, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
                assert process.stderr is not None
                ready = b"READY=1\nSTATUS=No PBX is configured"
                assert systemd.recv(4096) == ready
                process.stderr.readline()
                configure(tmp_path, calls={"timeout": "soon"})
                process.send_signal(signal.SIGHUP)
                told = process.stderr.readline()
                assert told.startswith("<3>configuration refused, the old one stays: ")
                assert "calls.timeout: must be a whole number" in told
                assert systemd.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert systemd.recv(4096) == ready
                configure(tmp_path, log={"level": "error"}, calls={"timeout": 20})
                process.send_signal(signal.SIGHUP)
                assert systemd.recv(4096).startswith(b"RELOADING=1")
                assert systemd.recv(4096) == ready
                process.send_signal(signal.SIGTERM)
                assert systemd.recv(4096) == b"STOPPING=1"
                assert process.stderr.read() == ""  # the new level holds
                assert process.wait() == 0

    def test_a_taken_port(self, tmp_path: Path) -> None:
        """One line says which; the process is gone."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
            file = configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
            with self.started(file) as process:
                assert process.stderr is not None
                told = process.stderr.read()
                assert process.wait() == 1
        assert told.count("\n") == 1
        assert f"127.0.0.1:{port}" in told
        assert "Address already in use" in told
