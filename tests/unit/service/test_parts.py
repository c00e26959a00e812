"""An agent's parts: to make them is to check a configuration, and changes nothing anywhere."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import evolve

from c2c_agent.config.pbx import (
    AmiConfig,
    AsteriskConfig,
    OtherSection,
    PbxConfig,
    RelayConfig,
    SwitchvoxConfig,
)
from c2c_agent.config.sections import AmqpConfig, Config, HttpConfig, StoreConfig, WebhookConfig
from c2c_agent.errors import ConfigError
from c2c_agent.service.agent import AgentService
from c2c_agent.service.parts import Parts
from c2c_agent.store.sqlite.store import Store
from tests.fakes import CRM
from tests.memory_host import MemoryHost

#: What the interpreter reports of what changes something outside of it (PEP 578; the table of
#: audit events in the library reference).
_CHANGES = (
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "socket.",
    "sqlite3.connect",
    "subprocess.Popen",
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Audit:
    """Keeps what one thread changes outside of the interpreter, while it is asked to."""

    def __init__(self) -> None:
        self._thread: int | None = None
        self._seen: list[str] = []
        self._installed = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._thread != threading.get_ident():
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if writes or event.startswith(_CHANGES):
            self._seen.append(f"{event} {arguments}")

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Give what changes while this goes on."""
        if not self._installed:  # and it stays: a hook cannot be taken away
            self._installed = True
            sys.addaudithook(self._hook)
        self._seen = []
        self._thread = threading.get_ident()
        start = threading.Thread.start

        def started(thread: threading.Thread) -> None:
            self._seen.append(f"thread {thread.name}")
            start(thread)

        try:
            with mock.patch.object(threading.Thread, "start", started):  # no event tells of it
                yield self._seen
        finally:
            self._thread = None


AUDIT = Audit()


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is in a folder: which file it is, owners, modes, times of change, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for file in sorted(folder.rglob("*")):
        about = file.stat()
        content = b"" if file.is_dir() else file.read_bytes()
        found[str(file)] = (
            *(about.st_ino, about.st_uid, about.st_gid, about.st_mode),
            *(about.st_mtime_ns, about.st_ctime_ns, content),
        )
    return found


def open_files() -> list[str]:
    """The numbers of all that this process has open, sockets among it."""
    return sorted(file.name for file in Path("/proc/self/fd").iterdir())


def secrets_in(folder: Path) -> Path:
    """A folder with the secrets that a configuration names."""
    folder.mkdir()
    for name, text in (
        ("ami.secret", "hush"),
        ("broker.password", "hush"),
        ("database.password", "hush"),
        ("whsec", "whsec_" + "A" * 32),
    ):
        (folder / name).write_text(text + "\n")
    return folder


def of_a_pbx(folder: Path) -> Config:
    """An agent beside an Asterisk, with everything that it may have."""
    return Config(
        server_id="pbx1.example.com",
        store=StoreConfig(path=str(folder / "state" / "c2c.sqlite3")),
        http=HttpConfig(listen="tcp:8470:interface=127.0.0.1"),
        asterisk=AsteriskConfig(ami=AmiConfig(secret_file=str(folder / "ami.secret"))),
        amqp=AmqpConfig(
            host="127.0.0.1",
            password_file=str(folder / "broker.password"),
            jobs_key=CRM.name,
            results=True,
        ),
        webhooks=[WebhookConfig("crm", "http://127.0.0.1:9/", str(folder / "whsec"))],
        keys=[CRM],
    )


def of_a_relay(folder: Path) -> Config:
    """A relay that shares its store, at a database that does not run."""
    return Config(
        server_id="relay1.example.com",
        store=StoreConfig(
            url="postgresql://c2c@127.0.0.1:1/c2c",
            password_file=str(folder / "database.password"),
            directory=str(folder / "state"),
        ),
        amqp=AmqpConfig(host="127.0.0.1", password_file=str(folder / "broker.password")),
        asterisk=None,
        relay=RelayConfig(),
        keys=[evolve(CRM, agent="pbx1.example.com")],
    )


def of_other(folder: Path) -> Config:
    """An agent whose calls go to a PBX over HTTP."""
    section = {
        "base_url": "https://127.0.0.1:8089",
        "secrets": {"token": {"file": str(folder / "ami.secret")}},
        "auth": {"kind": "bearer", "token": "{secret.token}"},
        "place": {"path": "/{dial_first}", "success": {"status": 200}},
        "check": {"path": "/"},
    }
    return Config(
        server_id="pbx1.example.com",
        store=StoreConfig(path=str(folder / "state" / "c2c.sqlite3")),
        asterisk=None,
        other=OtherSection(section, ("other",), {}),
        keys=[CRM],
    )


def of_several(folder: Path) -> Config:
    """An agent with PBXs of all kinds, two of them Asterisks."""
    other = of_other(folder).other
    assert other is not None
    secret = str(folder / "ami.secret")
    north = AsteriskConfig(ami=AmiConfig(secret_file=secret))
    south = evolve(north, ami=evolve(north.ami, host="127.0.0.2"))
    hotel = SwitchvoxConfig("https://127.0.0.3", "c2c-agent", secret)
    return Config(
        server_id="pbx1.example.com",
        store=StoreConfig(path=str(folder / "state" / "c2c.sqlite3")),
        pbxs={
            "north": PbxConfig(asterisk=north, max_concurrent=2),
            "south": PbxConfig(asterisk=south),
            "hotel": PbxConfig(switchvox=hotel),
            "dialer": PbxConfig(other=other),
        },
        keys=[evolve(CRM, pbx={"asterisk": "south", "other": "dialer"})],
    )


CONFIGURATIONS = pytest.mark.parametrize(
    "configuration", [of_a_pbx, of_a_relay, of_other, of_several]
)

#: The PBXs of these configurations. A relay has one of each kind.
PBXS: dict[Callable[[Path], Config], list[str]] = {
    of_a_pbx: ["asterisk"],
    of_a_relay: ["asterisk", "switchvox", "other"],
    of_other: ["other"],
    of_several: ["north", "south", "hotel", "dialer"],
}


@CONFIGURATIONS
def test_nothing_is_changed(tmp_path: Path, configuration: Callable[[Path], Config]) -> None:
    """No file is written, no socket is opened, no thread is started, no timer is set."""
    # What is imported only now, and then kept compiled, does not count.
    Parts(configuration(secrets_in(tmp_path / "before")), MemoryHost())
    folder, host = secrets_in(tmp_path / "folder"), MemoryHost()
    before, threads, files = state(folder), threading.enumerate(), open_files()
    with AUDIT.watching() as changes:
        parts = Parts(configuration(folder), host)
    assert changes == []
    assert state(folder) == before
    assert threading.enumerate() == threads
    assert open_files() == files
    assert host.journal == []
    assert host.getDelayedCalls() == []
    assert not (folder / "state").exists()
    assert list(parts.pbxs.drivers) == PBXS[configuration]


def test_a_reload_changes_nothing_either(tmp_path: Path) -> None:
    """A configuration that waits for a restart, or is refused, leaves no trace on the disk."""
    config, other = of_a_pbx(secrets_in(tmp_path / "a")), of_a_pbx(secrets_in(tmp_path / "b"))
    config = evolve(config, amqp=None, asterisk=None, webhooks=[])
    wrong = evolve(other, http=HttpConfig(listen="ssl:1:privateKey=/nonexistent"))
    host = MemoryHost()
    agent = AgentService(config, host)
    agent.startService()
    try:
        agent.change(of_a_pbx(secrets_in(tmp_path / "before")))
        before, threads = state(tmp_path / "b"), threading.enumerate()
        timers, journal = host.getDelayedCalls(), list(host.journal)
        with AUDIT.watching() as changes:
            _, waiting = agent.change(other)
            with pytest.raises(ConfigError, match=r"http\.listen: /nonexistent"):
                agent.change(wrong)
        assert "store.path" in waiting
        assert changes == []
        assert state(tmp_path / "b") == before
        assert threading.enumerate() == threads
        assert host.getDelayedCalls() == timers
        assert host.journal == journal
    finally:
        stopped = agent.stopService()
        while not stopped.called:
            host.turn(0.1)


def test_what_would_be_seen(tmp_path: Path) -> None:
    """A file that is made, a socket, a thread, an open store: each is noticed."""
    reactor: Any = MemoryHost()
    store = Store(str(tmp_path / "store"), reactor)

    def a_thread() -> None:
        threading.Thread(target=int).start()

    for change in (
        lambda: (tmp_path / "file").write_text("content"),
        (tmp_path / "folder").mkdir,
        lambda: (tmp_path / "file").chmod(0o600),
        lambda: socket.socket().close(),
        a_thread,
        store._connect,
    ):
        with AUDIT.watching() as changes:
            change()
        assert changes
    store._disconnect()
    with AUDIT.watching() as changes:
        (tmp_path / "file").read_text()
    assert changes == []


def test_the_secrets_are_read(tmp_path: Path) -> None:
    """What is missing or wrong is named, and nothing is begun."""
    for name in ("ami.secret", "broker.password", "whsec"):
        folder, host = secrets_in(tmp_path / f"without-{name}"), MemoryHost()
        (folder / name).unlink()
        with pytest.raises(
            ConfigError, match=rf"without-{name}/{name}: this file must hold the secret"
        ):
            Parts(of_a_pbx(folder), host)
        assert host.journal == []
