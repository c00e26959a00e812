"""Where the benchmark takes place: its Asterisk, and the agents beside it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final

from attrs import define, field

from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import WITNESS_SECRET, AsteriskHost
from tests.pbx.waiting import wait_until

#: No test's address.
ADDRESS: Final = "127.0.0.62"

#: Numbers of the test dialplan (tests/pbx/etc/extensions.conf): Local channels that answer and wait
#: to be hung up, or answer and hang up by themselves after 0.2 s.
STAYS: Final = "298"
HANGS_UP: Final = "299"

#: Whose calls the benchmark places.
DIAL_AS: Final = "100"


@define
class Bench:
    """What a row has to work with."""

    pbx: AsteriskHost
    directory: Path
    rounds: int
    quick: bool
    _agents: int = field(default=0, init=False)

    def few(self, usual: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else usual

    def agent(self, module: str = "c2c_agent", ami_port: int | None = None) -> AgentProcess:
        """An agent with a new store, and no cap that would come in the way."""
        self._agents += 1
        directory = self.directory / f"agent-{self._agents}"
        directory.mkdir()
        changes = {
            "calls": {"timeout": 10, "max_concurrent": 5000},
            "log": {"level": "info", "numbers": "masked"},  # as an admin has it
        }
        return AgentProcess(self.pbx, directory, changes, module=module, ami_port=ami_port)

    def come_to_rest(self) -> None:
        """Leave no channel of an earlier row behind: phones that were ended may have hung on."""
        if self.pbx.core_show_channels():
            self.pbx.cli("channel request hangup all")
        wait_until(lambda: not self.pbx.core_show_channels(), 30, "no channel is left")

    @property
    def ami(self) -> list[Any]:
        """Address and login of the agent's AMI user, for a peer."""
        return [self.pbx.address, self.pbx.ami_port, self.pbx.ami_username, self.pbx.ami_secret]

    @property
    def witness(self) -> list[Any]:
        """Address and login of the AMI user that sees everything."""
        return [self.pbx.address, self.pbx.ami_port, "witness", WITNESS_SECRET]


@contextmanager
def place(version: str, rounds: int, *, quick: bool) -> Iterator[Bench]:
    """An Asterisk of its own that logs nothing, and a folder that is gone afterwards."""
    # Else each call would cost it a page of text on a pipe to Docker.
    host = AsteriskHost(version, ADDRESS, verbosity=0)
    host.files["logger.conf"] = "[general]\n[logfiles]\nconsole => warning,error\n"
    # 2,000 calls are 8,000 channels, which with a timer each are more files than engines allow; and
    # nothing here plays a sound.
    modules = host.files["modules.conf"].splitlines(keepends=True)
    host.files["modules.conf"] = "".join(line for line in modules if "res_timing" not in line)
    host.files["cel.conf"] = "[general]\nenable = no\n"  # what the tests' witness reads
    lock = Path(gettempdir()) / f"c2c-agent-test-{os.getuid()}-{ADDRESS}.lock"
    with lock.open("w") as held, TemporaryDirectory(prefix="c2c-agent-bench-") as directory:
        sys.stderr.write("waiting for other runs of the benchmark, if there are any\n")
        fcntl.flock(held, fcntl.LOCK_EX)
        with host:
            yield Bench(host, Path(directory), rounds, quick)
