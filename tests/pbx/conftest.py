"""The test PBXs, their phones and the witness, as fixtures.

A test that takes `asterisk` runs once on each version, and bears the mark `pbx` by that. Without
Docker it is an error, never a skip; to leave it out, deselect it (`-m "not pbx"`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import ADDRESSES, AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.phones import Phone
from tests.pbx.proxy import Wire
from tests.pbx.sip_scenario import ANSWERS, Behaviour
from tests.pbx.sound import ULAW, Codec
from tests.pbx.talker import Talker
from tests.pbx.waiting import WaitedInVainError, wait_until
from tests.pbx.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


class StartPhone(Protocol):
    """What the fixture `phone` is: starts a phone of the PBX under test."""

    def __call__(self, number: str, behaviour: Behaviour = ANSWERS) -> Phone:
        """Return the phone of that number, ready to be called; replaces an earlier one."""
        ...


class StartTalker(Protocol):
    """What the fixture `talker` is: starts a talking phone of the PBX under test."""

    def __call__(
        self, number: str, *codecs: Codec, ring_seconds: float | None = 0.3, final: int = 200
    ) -> Talker:
        """Return the phone of that number, ready to be called; it ends with the test."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Let pyst2 use the names that threading's methods had in its days."""
    for old in ("setDaemon", "isSet", "currentThread"):
        config.addinivalue_line("filterwarnings", rf"ignore:{old}\(\) is deprecated")


def pytest_itemcollected(item: pytest.Function) -> None:
    """Mark a test that needs a PBX, before any are deselected by their marks."""
    if "asterisk" in item.fixturenames:
        item.add_marker("pbx")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the PBX logged meanwhile to the report of a test that failed."""
    report = yield
    host = getattr(item, "funcargs", {}).get("asterisk")
    if report.failed and host is not None:
        report.sections.append((f"log of {host}", host.logs(since=call.start)))
    return report


@contextmanager
def alone(address: str, config: pytest.Config) -> Iterator[None]:
    """Wait until nobody else on this machine tests with the same address."""
    path = Path(gettempdir()) / f"c2c-agent-test-{os.getuid()}-{address}.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            capture = config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():
                sys.stderr.write(f"waiting for another run of these tests ({path})\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", params=ADDRESSES, ids="asterisk-{}".format)
def asterisk(request: pytest.FixtureRequest) -> Iterator[AsteriskHost]:
    """A real Asterisk; each version in turn. Each worker has its own."""
    host = AsteriskHost(request.param)
    with alone(host.address, request.config), host:
        yield host


@pytest.fixture
def phone(asterisk: AsteriskHost, tmp_path: Path) -> Iterator[StartPhone]:
    """Start phones of this PBX; they end after the test."""
    phones: list[Phone] = []
    # In memory, where there is such a place: a phone must not wait for a disk while it rings.
    memory = Path("/dev", "shm")
    place = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(prefix="phones-", dir=place) as directory:

        def start(number: str, behaviour: Behaviour = ANSWERS) -> Phone:
            for earlier in phones:
                if earlier.number == number:
                    earlier.stop()
            own = Path(directory) / f"{len(phones)}-{number}"
            own.mkdir()
            address = (asterisk.phones_address, asterisk.phone_port(number))
            phones.append(Phone(number, *address, behaviour, own))
            phones[-1].start()
            return phones[-1]

        yield start
        for started in phones:
            started.stop()
        shutil.copytree(directory, tmp_path / "phones")  # to be looked at afterwards


@pytest.fixture
def talker(asterisk: AsteriskHost) -> Iterator[StartTalker]:
    """Start talking phones of this PBX."""
    with ExitStack() as phones:

        def start(
            number: str, *codecs: Codec, ring_seconds: float | None = 0.3, final: int = 200
        ) -> Talker:
            place = (asterisk.phones_address, asterisk.phone_port(number))
            phone = Talker(
                number, *place, codecs=codecs or (ULAW,), ring_seconds=ring_seconds, final=final
            )
            return phones.enter_context(phone)

        yield start


@pytest.fixture(scope="session")
def shared_agent(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent beside this PBX, that all tests share which do not end it."""
    with AgentProcess(asterisk, tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture
def agent(shared_agent: AgentProcess) -> AgentProcess:
    """The shared agent; back at Asterisk, should the last test have restarted that."""
    wait_until(shared_agent.is_ready, 30, "the agent is ready")
    return shared_agent


@pytest.fixture
def wire(asterisk: AsteriskHost) -> Iterator[Wire]:
    """A wire to AMI, at whose end a test may put an agent."""
    with Wire(asterisk.address, 5999, (asterisk.address, asterisk.ami_port)) as wire:
        yield wire


@pytest.fixture
def witness(asterisk: AsteriskHost) -> Iterator[Witness]:
    """An independent observer of this PBX, from the start of the test."""
    with Witness(asterisk) as observer:
        yield observer


@pytest.fixture
def lateness() -> Lateness:
    """How long this machine has stood still since the start of the test."""
    return Lateness()


@pytest.fixture(autouse=True)
def _pbx_is_left_idle(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves channels behind, while its phones are still there to hang up."""
    if "asterisk" not in request.fixturenames:
        yield
        return
    host: AsteriskHost = request.getfixturevalue("asterisk")
    if "phone" in request.fixturenames:
        request.getfixturevalue("phone")
    yield
    if not host.is_running():
        host.start()  # the test ended it; the next one needs it
        return
    try:
        wait_until(lambda: not host.core_show_channels(), 10, "no channel is left")
    except WaitedInVainError:
        left = host.core_show_channels()
        host.cli("channel request hangup all")
        pytest.fail(f"channels still exist on {host} 10 s after the test: {', '.join(left)}")
