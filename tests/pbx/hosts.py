"""A real Asterisk on a loopback address: started, asked, restarted, killed and removed.

Each host is a container in the machine's own network, so the agent stands beside it just as on a
PBX host. Needs a Docker engine and the images that `scripts/prepare` builds.
"""

from __future__ import annotations

import csv
import os
import re
import socket
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import docker
from docker.errors import DockerException, ImageNotFound, NotFound

from tests.pbx import pbx_files
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from docker.models.containers import Container

#: The label of every container that the tests start; its value is the run that started it.
LABEL: Final = "c2c-agent-test"
AMI_PORT: Final = 5038
AMI_USERNAME: Final = "c2c-agent"
AMI_SECRET: Final = "the-agents-secret"
WITNESS_SECRET: Final = "the-witness-secret"

#: The number of this process among those of one run, of which there may be six.
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

#: The versions under test and where each lives; a third host takes an address of its own.
ADDRESSES: Final = {version: f"127.0.0.{int(version) + _WORKER}" for version in ("16", "22")}

#: Modules that only this version has, and needs: cel_custom is made of it there.
_MORE_MODULES: Final = {"22": ("res_cdrel_custom.so",)}

_BOOT_SECONDS: Final = 30.0
#: What stands behind all that a command printed, and a command that adds it.
_END: Final = "-- the end --"
_WITH_END: Final = f'"$0" "$@"; code=$?; printf %s "{_END}"; exit $code'
_STOP_SECONDS: Final = 5
_DATABASE_LINE: Final = re.compile(r"^/[^/]+/(\S+)\s*: (.*?)\s*$", re.MULTILINE)
_CDR_FILE: Final = "/var/log/asterisk/cdr-csv/Master.csv"
#: Where cel_custom writes, and what, with the settings of `etc/cel_custom.conf`.
_CEL_DIRECTORY: Final = "/var/log/asterisk/cel-custom"
_CEL_FILE: Final = "channels.csv"
#: The columns that cdr_csv writes with the settings of `etc/cdr.conf`.
_CDR_COLUMNS: Final = (
    *("accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel"),
    *("lastapp", "lastdata", "start", "answer", "end", "duration", "billsec", "disposition"),
    *("amaflags", "uniqueid", "userfield", "peeraccount", "linkedid", "sequence"),
)


class HostError(Exception):
    """The test PBX is not there or not well; the text says what to do or what it logged."""


def beside(address: str, by: int) -> str:
    """The address of a third host, so many above that of one of the two: 100, or 140."""
    return f"127.0.0.{int(address.rpartition('.')[2]) + by}"


class AsteriskHost:
    """One Asterisk of the given version ("16", "22") on the given address of 127.0.0.0/8.

    Its phones live on an address of their own, at `phone_port(number)`, so several hosts never
    meet. The last number of `address` tells hosts apart: it names the container, the phones'
    address and the range of RTP ports. `files` is what it will find in /etc/asterisk, by path: the
    files of `etc/` and those that the product ships, unless a test changes them before the start.
    """

    def __init__(
        self,
        version: str,
        address: str | None = None,
        *,
        verbosity: int = 3,
        image: str = "c2c-agent-test/asterisk",
    ) -> None:
        self.version = version
        self._image = f"{image}:{version}"
        self.address = address or ADDRESSES[version]
        number = int(self.address.rpartition(".")[2])
        self.phones_address = f"127.0.1.{number}"
        self.ami_port = AMI_PORT
        self.ami_username = AMI_USERNAME
        self.ami_secret = AMI_SECRET
        self._name = f"c2c-agent-test-{self.address}"
        self._verbosity = verbosity
        place = pbx_files.PbxPlace(
            address=self.address,
            phones_address=self.phones_address,
            ami_port=self.ami_port,
            ami_secret=self.ami_secret,
            witness_secret=WITNESS_SECRET,
            rtp_start=10000 + 200 * number,
            rtp_end=10199 + 200 * number,
            more_modules=_MORE_MODULES.get(version, ()),
        )
        self.files = pbx_files.render(place)
        self._container: Container | None = None
        self._records: TemporaryDirectory[str] | None = None

    def __repr__(self) -> str:
        return f"<Asterisk {self.version} on {self.address}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def phone_port(self, number: str) -> int:
        """Return the port of `phones_address` at which this PBX looks for a phone."""
        return pbx_files.phone_port(number)

    def start(self) -> None:
        """Start it and wait until it is fully booted.

        After `stop()` or `kill()` the same Asterisk comes back, with its AstDB and its CDRs;
        otherwise a fresh one takes the place of whatever an earlier run left behind.
        """
        if self._container is None:
            self._container = self._create()
        self._container.start()
        wait_until(self._is_booted, _BOOT_SECONDS, f"{self} has booted")

    def stop(self) -> None:
        """Shut it down in good order, as `systemctl stop asterisk` does."""
        self._started().stop(timeout=_STOP_SECONDS)

    def kill(self) -> None:
        """End it as a crash or a power cut would: at once, no goodbye to anybody."""
        container = self._started()
        container.kill()
        container.wait()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def restart_now(self) -> None:
        """Have it restart itself at once, calls or no calls; wait until it is back."""
        before = self._started_at()
        self._execute("asterisk", "-rx", "core restart now")
        wait_until(
            lambda: self._is_booted() and self._started_at() != before,
            _BOOT_SECONDS,
            f"{self} has restarted",
        )

    @contextmanager
    def changed_secret(self, secret: str) -> Iterator[None]:
        """Let the agent's AMI user have another secret for a while, as an admin would change it."""
        name = "manager.d/c2c-agent.conf"
        self._change_file(name, self.files[name].replace(self.ami_secret, secret))
        try:
            yield
        finally:
            self._change_file(name, self.files[name])

    def _change_file(self, name: str, text: str) -> None:
        self._started().put_archive("/etc/asterisk", pbx_files.as_archive({name: text}))
        self.cli("manager reload")

    def _started_at(self) -> str:
        """What tells one life of it from the next."""
        _, text = self._execute("asterisk", "-rx", "core show settings")
        return "".join(line for line in text.splitlines() if "Startup time" in line)

    def remove(self) -> None:
        """Take the container away, running or not."""
        if self._container is not None:
            self._container.remove(force=True)
            self._container = None
        if self._records is not None:
            self._records.cleanup()
            self._records = None

    def is_running(self) -> bool:
        """Tell whether its process is there."""
        if self._container is None:
            return False
        self._container.reload()
        return bool(self._container.status == "running")

    @property
    def channel_log(self) -> Path:
        """The file in which it notes what happens to its channels, and when (`channel_log`)."""
        if self._records is None:
            raise HostError(f"{self} was not started")
        return Path(self._records.name, _CEL_FILE)

    @property
    def pid(self) -> int:
        """The id of Asterisk's process, as this machine sees it."""
        container = self._started()
        container.reload()
        return int(container.attrs["State"]["Pid"])

    def cli(self, command: str) -> str:
        """Return what Asterisk's command line prints for a command."""
        code, text = self._execute("asterisk", "-rx", command)
        if code != 0 or text.startswith(("No such command", "Usage:", "Unable to connect")):
            raise HostError(f"{self}: {command!r} failed: {text.strip()}")
        return text

    def core_show_channels(self) -> list[str]:
        """Return the names of all channels that exist now."""
        lines = self.cli("core show channels concise").splitlines()
        return [line.partition("!")[0] for line in lines if "!" in line]

    def database(self, family: str) -> dict[str, str]:
        """Return the entries of a family of AstDB, by key."""
        return dict(_DATABASE_LINE.findall(self.cli(f"database show {family}")))

    def cdrs(self, linkedid: str | None = None) -> list[dict[str, str]]:
        """Return the CDRs that were written so far, of one call or all, with cdr_csv's columns."""
        code, text = self._execute("cat", _CDR_FILE)
        if code != 0:
            return []  # none was ever written
        rows = csv.DictReader(text.splitlines(), fieldnames=_CDR_COLUMNS)
        return [row for row in rows if linkedid in {None, row["linkedid"]}]

    def logs(self, since: float | None = None) -> str:
        """Return what it logged, all or since a point of `time.time()`."""
        if self._container is None:
            return ""
        whole = self._container.logs(since=since) if since else self._container.logs()
        lines = whole.decode("utf-8", "backslashreplace").splitlines(keepends=True)
        # Every look through `cli` leaves two of these.
        return "".join(line for line in lines if "Remote UNIX connection" not in line)

    def _started(self) -> Container:
        if self._container is None:
            raise HostError(f"{self} was not started")
        return self._container

    def _create(self) -> Container:
        """Make the container with our configuration over the image's own, not yet started."""
        try:
            engine = docker.from_env()
            self._remove_leftover(engine)
            if _ami_greets(self.address, self.ami_port):
                raise HostError(f"another Asterisk answers at {self.address}:{self.ami_port}")
            container = engine.containers.create(
                self._image,
                ["asterisk", "-f", "-n", "-U", "asterisk", *["-v"] * self._verbosity],
                name=self._name,
                network_mode="host",
                volumes={self._place_for_records(): {"bind": _CEL_DIRECTORY, "mode": "rw"}},
                labels={LABEL: os.environ.get("C2C_TEST_RUN", "by hand")},
            )
        except ImageNotFound:
            raise HostError(f"no image {self._image}: scripts/test builds it") from None
        except DockerException as error:
            raise HostError(f"no Docker engine to be used here: {error}") from error
        container.put_archive("/etc/asterisk", pbx_files.as_archive(self.files))
        return container

    def _place_for_records(self) -> str:
        """Make the folder of `channel_log`, in memory where that can be: no disk is waited for."""
        memory = Path("/dev", "shm")
        place = memory if os.access(memory, os.W_OK) else None
        self._records = TemporaryDirectory(prefix="c2c-agent-cel-", dir=place)
        Path(self._records.name).chmod(0o777)  # Asterisk is another user
        return self._records.name

    def _remove_leftover(self, engine: docker.DockerClient) -> None:
        """Take away the container of an earlier run that was not ended properly."""
        try:
            engine.containers.get(self._name).remove(force=True)
        except NotFound:
            return

    def _is_booted(self) -> bool:
        if not self.is_running():
            raise HostError(f"{self} does not stay up:\n{self.logs()[-4000:]}")
        if not _ami_greets(self.address, self.ami_port):
            return False
        code, text = self._execute("asterisk", "-rx", "core waitfullybooted")
        return code == 0 and "fully booted" in text

    def _execute(self, *command: str) -> tuple[int | None, str]:
        """Run a program in the container; return its exit status and what it printed."""
        # Docker loses the output of what ends in a moment, now and then (moby 20.10); what is asked
        # here may be asked again.
        while True:
            code, output = self._started().exec_run(["sh", "-c", _WITH_END, *command])
            assert isinstance(output, bytes)
            text, end, _ = output.decode("utf-8", "backslashreplace").rpartition(_END)
            if end or code != 0:
                return code, text or output.decode("utf-8", "backslashreplace")


def _ami_greets(address: str, port: int) -> bool:
    """Tell whether an Asterisk says its name at that place."""
    try:
        with closing(socket.create_connection((address, port), timeout=1)) as connection:
            return connection.recv(64).startswith(b"Asterisk Call Manager/")
    except OSError:
        return False
