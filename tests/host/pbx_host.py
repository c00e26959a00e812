"""A whole PBX host under systemd, in a container that has a network of its own.

Debian with Asterisk as its service and SIP phones; an admin's hands are `run`.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import docker

from tests.pbx.hosts import LABEL
from tests.pbx.sip_scenario import Behaviour, scenario
from tests.pbx.waiting import WaitedInVainError, wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from docker.models.containers import Container

IMAGE: Final = "c2c-agent-test/host:22"

_NAME: Final = "c2c-agent-test-host"
_BOOT_SECONDS: Final = 60.0
#: Where commands write what they say.
_SAID: Final = "/root/said"
_JOURNAL: Final = "/root/journal"
_HYBRID: Final = Path("/sys/fs/cgroup/unified")

#: The admin's own side: two phones, and who may dial whom.
_PJSIP: Final = """
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:5060
"""
_PHONE: Final = """
[{number}]
type = endpoint
transport = udp
context = from-phones
disallow = all
allow = ulaw
aors = {number}
callerid = "Phone {number}" <{number}>
[{number}]
type = aor
contact = sip:{number}@127.0.0.1:{port}
"""
_DIALPLAN: Final = """
[from-phones]
exten => _XXX,1,Dial(PJSIP/${EXTEN})
 same => n,Hangup(${HANGUPCAUSE})
"""
_PORTS: Final = {"100": 6100, "200": 6200}


class PbxHost:
    """The host. Leaving it removes the container."""

    def __init__(self) -> None:
        self._container: Container | None = None

    def __enter__(self) -> Self:
        engine = docker.from_env()
        for leftover in engine.containers.list(all=True, filters={"name": f"^{_NAME}$"}):
            leftover.remove(force=True)
        # systemd needs cgroup v2, and to be its master; where the machine has both layouts, v2
        # stands beside the other.
        cgroups = _HYBRID if _HYBRID.is_dir() else _HYBRID.parent
        options: dict[str, Any] = {"cgroupns": "host"}
        self._container = engine.containers.run(
            IMAGE,
            detach=True,
            name=_NAME,
            network_mode="none",
            cap_add=["SYS_ADMIN"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            volumes={str(cgroups): {"bind": "/sys/fs/cgroup", "mode": "rw"}},
            tmpfs={"/run": "", "/run/lock": ""},
            labels={LABEL: os.environ.get("C2C_TEST_RUN", "by hand")},
            **options,
        )
        try:
            wait_until(self._is_up, _BOOT_SECONDS, "systemd runs")
            self._furnish()
        except BaseException:
            self._container.remove(force=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._container is not None:
            self._container.remove(force=True)

    def run(self, command: str, *, status: int | None = 0) -> str:
        """Run a shell command as root; what it printed. It has to end with this exit status."""
        assert self._container is not None
        # By a file: Docker loses the output of what ends in a moment, now and then (moby 20.10).
        code, _ = self._container.exec_run(["bash", "-c", f"( {command}\n) > {_SAID} 2>&1"])
        text = self._read(_SAID)
        assert status in {None, code}, f"{command} ended with {code}:\n{text}\n{self.journal()}"
        return text

    def holds(self, command: str) -> bool:
        """Whether a shell command ends with 0."""
        assert self._container is not None
        code, _ = self._container.exec_run(["bash", "-c", command])
        return bool(code == 0)

    def wait_for(self, command: str, timeout: float = 30.0) -> None:
        """Wait until a shell command ends with 0."""
        try:
            wait_until(lambda: self.holds(command), timeout, command)
        except WaitedInVainError as error:
            raise WaitedInVainError(f"{error}\n{self.journal()}") from None

    def write(self, path: str, text: str) -> None:
        """Write a file, as root, readable by all."""
        self.put(path, text.encode())

    def put(self, path: str, content: bytes) -> None:
        """Write a file of bytes."""
        assert self._container is not None
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
        self._container.put_archive("/", archive.getvalue())

    def journal(self) -> str:
        """What the agent's unit has logged."""
        assert self._container is not None
        self.holds(f"journalctl -u c2c-agent -o cat > {_JOURNAL}")
        return self._read(_JOURNAL)

    def phone(self, number: str, behaviour: Behaviour) -> None:
        """Let a phone behave like this from now on."""
        port = _PORTS[number]
        self.run(f"pkill -f 'sipp .* -p {port}'", status=None)
        self.write(f"/root/{number}.xml", scenario(behaviour, 30000))
        self.run(
            f"cd /root && sipp -sf {number}.xml -s {number} -aa -i 127.0.0.1 -p {port} "
            f"-mp {port + 1000} -watchdog_interval 0 -bg",
            status=None,  # -bg: the exit status is that of nobody
        )
        self.wait_for(f"ss -Hlun 'sport = :{port}' | grep -q .")

    def _read(self, path: str) -> str:
        assert self._container is not None
        chunks, _ = self._container.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            member = tar.extractfile(tar.getmembers()[0])
            assert member is not None
            return member.read().decode("utf-8", "backslashreplace")

    def _is_up(self) -> bool:
        return self.holds("systemctl is-system-running | grep -qx running")

    def _furnish(self) -> None:
        phones = "".join(_PHONE.format(number=number, port=port) for number, port in _PORTS.items())
        self.write("/root/pjsip", _PJSIP + phones)
        self.write("/root/dialplan", _DIALPLAN)
        self.run("cat /root/pjsip >> /etc/asterisk/pjsip.conf")
        self.run("cat /root/dialplan >> /etc/asterisk/extensions.conf")
        self.run("systemctl restart asterisk")
        self.wait_for("asterisk -rx 'core waitfullybooted' | grep -q 'fully booted'", _BOOT_SECONDS)
