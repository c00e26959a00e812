"""The life of the Debian package on a PBX host: from the file to nothing left of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.host.pbx_host import PbxHost
from tests.pbx.sip_scenario import Behaviour

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"

PACKAGE: Final = "/root/c2c-agent_1.deb"
NEXT_PACKAGE: Final = "/root/c2c-agent_2.deb"
CONFIG: Final = "/etc/c2c-agent/c2c-agent.yml"

DROP_INS: Final = "/etc/systemd/system/c2c-agent.service.d"

#: A container may not have user namespaces of its own.
DROP_IN: Final = "[Service]\nPrivateUsers=no\n"

#: Half a minute is long for a test; but a machine that stands still for as little as this would
#: have the agent restarted in any other.
WATCHDOG: Final = "[Service]\nWatchdogSec=5\nTimeoutAbortSec=5\n"

MAIN_PID: Final = "systemctl show --property MainPID --value c2c-agent"
IS_ACTIVE: Final = "systemctl is-active --quiet c2c-agent"


@pytest.fixture(scope="module")
def host() -> Iterator[PbxHost]:
    """A host with an Asterisk and two phones, and the package as a file."""
    with PbxHost() as running:
        running.put(PACKAGE, Path(os.environ["C2C_DEB"]).read_bytes())
        running.phone("100", Behaviour(ring_seconds=0.5))
        running.phone("200", Behaviour(ring_seconds=0.5, talk_seconds=1))
        yield running


@pytest.fixture(scope="module")
def asterisk_pid(host: PbxHost) -> str:
    """Which Asterisk was there before the package came."""
    return host.run("pidof asterisk")


@pytest.fixture(autouse=True)
def _the_same_asterisk(host: PbxHost, asterisk_pid: str) -> Iterator[None]:
    """Whatever is done to the agent, Asterisk is not restarted, and no channel is left."""
    yield
    assert host.run("pidof asterisk") == asterisk_pid
    host.wait_for("asterisk -rx 'core show channels' | grep -q '^0 active channels'")


def status_of_a_call(host: PbxHost) -> str:
    """Place a call that connects; its request_id."""
    told = host.run("c2c-agent call 100 200 --wait")
    assert "connected" in told
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", told)
    assert found is not None, told
    return found[0]


class TestLife:
    """Each test goes on where the one before has left the host."""

    def test_install(self, host: PbxHost) -> None:
        """A user without a shell, directories for it alone; nothing runs yet."""
        host.run(f"apt-get install --yes --no-install-recommends {PACKAGE}")
        assert host.run("c2c-agent --version").startswith("c2c-agent, version ")
        assert host.run("getent passwd c2c-agent").endswith(":/usr/sbin/nologin\n")
        assert host.run("stat -c '%a %U:%G' /etc/c2c-agent") == "750 root:c2c-agent\n"
        for directory in ("/var/lib/c2c-agent", "/var/log/c2c-agent"):
            assert host.run(f"stat -c '%a %U:%G' {directory}") == "750 c2c-agent:c2c-agent\n"
        assert host.run("systemctl is-active c2c-agent", status=3) == "inactive\n"
        assert host.run("systemctl is-enabled c2c-agent", status=1) == "disabled\n"
        host.run("man --where c2c-agent c2c-agent.yml")

    def test_examples(self, host: PbxHost) -> None:
        """Those for other PBXs can be read, and are the ones that were tested."""
        for example in (*EXAMPLES.glob("other/*"), EXAMPLES / "pbxs.yml"):
            packaged = f"/usr/share/doc/c2c-agent/examples/{example.relative_to(EXAMPLES)}"
            assert host.run(f"cat {packaged}") == example.read_text(encoding="utf-8")

    def test_completion(self, host: PbxHost) -> None:
        """The shells know the commands."""
        completions = host.run("cat /usr/share/bash-completion/completions/c2c-agent")
        assert "_C2C_AGENT_COMPLETE=bash_complete" in completions
        words = "COMP_WORDS='c2c-agent ca' COMP_CWORD=1 _C2C_AGENT_COMPLETE=bash_complete c2c-agent"
        assert host.run(words) == "plain,call\nplain,calls\nplain,cancel\n"
        for file in (
            "zsh/vendor-completions/_c2c-agent",
            "fish/vendor_completions.d/c2c-agent.fish",
        ):
            assert "_C2C_AGENT_COMPLETE" in host.run(f"cat /usr/share/{file}")

    def test_exposure(self, host: PbxHost) -> None:
        """What an attacker would have in the agent's place; 0 is nothing, 10 everything."""
        told = host.run("systemd-analyze security --no-pager c2c-agent")
        found = re.search(r"Overall exposure level for c2c-agent.service: ([0-9.]+)", told)
        assert found is not None
        assert float(found[1]) <= 1.2

    def test_set_up(self, host: PbxHost) -> None:
        """Two commands more, and the check goes the whole way round."""
        told = host.run("c2c-agent setup asterisk --allow _1XX --allow _2XX")
        assert "c2c_" in told
        assert (
            host.run("stat -c '%a %U:%G' /etc/c2c-agent/*.{yml,secret}")
            == "640 root:c2c-agent\n" * 2
        )
        host.write(f"{DROP_INS}/container.conf", DROP_IN)
        host.run("systemctl daemon-reload")
        host.run("systemctl enable --now c2c-agent")
        assert "AMI link up: Asterisk 22" in host.run("systemctl status c2c-agent")
        told = host.run("c2c-agent check")
        assert {line.partition(" ")[0] for line in told.splitlines()} == {"ok"}
        assert "test call: through the bridge context and over FastAGI to the running agent" in told

    def test_call(self, host: PbxHost) -> None:
        """Two phones talk."""
        status_of_a_call(host)

    def test_reload(self, host: PbxHost) -> None:
        """A good configuration is taken over; a bad one is refused, and the old one stays."""
        before = host.run(MAIN_PID)
        host.write("/etc/c2c-agent/conf.d/limits.yml", "calls: {max_concurrent: 7}\n")
        host.run("systemctl reload c2c-agent")
        host.wait_for("journalctl -u c2c-agent -o cat | grep -q calls.max_concurrent")
        host.write("/etc/c2c-agent/conf.d/limits.yml", "calls: {max_concurent: 8}\n")
        host.run("systemctl reload c2c-agent")
        host.wait_for("journalctl -u c2c-agent -o cat | grep -q \"did you mean 'max_concurrent'\"")
        host.run("rm /etc/c2c-agent/conf.d/limits.yml")  # the command line reads it, too
        status_of_a_call(host)
        assert host.run(MAIN_PID) == before
        host.run("systemctl reload c2c-agent")

    def test_watchdog(self, host: PbxHost) -> None:
        """An agent that stands still is restarted, and places calls again."""
        host.write(f"{DROP_INS}/watchdog.conf", WATCHDOG)
        host.run("systemctl daemon-reload && systemctl restart c2c-agent")
        before = host.run(MAIN_PID).strip()
        host.run(f"kill -STOP {before}")
        # First which process it is: the old one counts as active until systemd gives it up.
        host.wait_for(
            f"pid=$({MAIN_PID}); [ $pid != {before} ] && [ $pid != 0 ] && {IS_ACTIVE}", 60
        )
        assert host.holds("journalctl -u c2c-agent | grep -qi 'watchdog timeout'")
        host.run(f"rm {DROP_INS}/watchdog.conf")
        host.run("systemctl daemon-reload && systemctl restart c2c-agent")
        status_of_a_call(host)

    def test_without_the_secret(self, host: PbxHost) -> None:
        """It does not start, and says in one line which file is missing."""
        host.run("systemctl stop c2c-agent && mv /etc/c2c-agent/ami.secret /root/")
        host.run("systemctl start c2c-agent", status=1)
        host.run("systemctl stop c2c-agent")
        assert "/etc/c2c-agent/ami.secret: this file must hold the secret" in host.journal()
        host.run("mv /root/ami.secret /etc/c2c-agent/ && systemctl reset-failed c2c-agent")
        host.run("systemctl start c2c-agent")

    def test_upgrade(self, host: PbxHost) -> None:
        """The new version runs, with the configuration, the secret and the store of before."""
        request_id = status_of_a_call(host)
        before = host.run(MAIN_PID)
        kept = host.run("sha256sum /etc/c2c-agent/*.{yml,secret}")
        host.run(
            f"cd /root && dpkg-deb --raw-extract {PACKAGE} next && "
            "sed -i 's/^Version: .*/&+next/' next/DEBIAN/control && "
            f"dpkg-deb -Zgzip -z1 --build next {NEXT_PACKAGE} && rm -rf next"
        )
        host.run(f"apt-get install --yes {NEXT_PACKAGE}")
        host.wait_for(IS_ACTIVE)
        assert host.run(MAIN_PID) != before
        assert host.run("dpkg-query -W -f '${Version}' c2c-agent").endswith("+next")
        assert host.run("sha256sum /etc/c2c-agent/*.{yml,secret}") == kept
        assert "connected" in host.run(f"c2c-agent status {request_id}")
        status_of_a_call(host)

    def test_upgrade_of_a_stopped_agent(self, host: PbxHost) -> None:
        """Who has stopped it finds it stopped."""
        took = host.run("TIMEFORMAT=%0R; time systemctl stop c2c-agent").strip()
        assert int(took) < 30
        assert host.run("systemctl show --property Result --value c2c-agent") == "success\n"
        host.run(f"apt-get install --yes --reinstall {NEXT_PACKAGE}")
        host.run("systemctl is-active c2c-agent", status=3)
        host.run("systemctl start c2c-agent")

    def test_secrets(self, host: PbxHost) -> None:
        """Neither the journal nor the list of processes has one; a crash would dump none either."""
        files = ("/etc/c2c-agent/ami.secret", "/var/lib/c2c-agent/operator.key")
        secrets = [host.run(f"cat {file}").strip() for file in files]
        pid = host.run(MAIN_PID).strip()
        shown = host.run(f"journalctl --no-pager; ps -efww; tr '\\0' '\\n' < /proc/{pid}/environ")
        assert "CREDENTIALS_DIRECTORY=" in shown  # where they are, and not what they are
        assert [secret for secret in secrets if len(secret) < 20 or secret in shown] == []
        limit = host.run(f"grep '^Max core file size' /proc/{pid}/limits").split()
        assert limit[4:6] == ["0", "0"]

    def test_remove(self, host: PbxHost) -> None:
        """The service stops; configuration and store stay, for who installs it again."""
        kept = host.run("sha256sum /etc/c2c-agent/*.{yml,secret}")
        host.run("apt-get remove --yes c2c-agent")
        assert not host.holds(IS_ACTIVE)
        assert not host.holds("pgrep -u c2c-agent")
        assert not host.holds("ls /opt/c2c-agent")
        assert host.run("sha256sum /etc/c2c-agent/*.{yml,secret}") == kept
        assert host.holds("ls /var/lib/c2c-agent/c2c.sqlite3")
        host.run(f"apt-get install --yes {PACKAGE} && systemctl start c2c-agent")
        status_of_a_call(host)

    def test_purge(self, host: PbxHost) -> None:
        """Asterisk's side is given back; then nothing is left: no file, no user, no unit."""
        host.run("c2c-agent setup asterisk --undo")
        host.run("apt-get purge --yes c2c-agent")
        host.run(f"rm -r {DROP_INS} /root/c2c-agent_*.deb")
        named = host.run(
            "find / -xdev '(' -path /proc -o -path /sys -o -path /run -o -path /tmp ')' -prune -o "
            "-name '*c2c*' -print"
        )
        # systemd names directories by the ids of the machine and of the boot: random, hexadecimal.
        assert [path for path in named.split() if "c2c" in re.sub("[0-9a-f]{32}", "", path)] == []
        host.run("getent passwd c2c-agent", status=2)
        host.run("getent group c2c-agent", status=2)
        assert not host.holds("systemctl cat c2c-agent")
        assert not host.holds("grep -rq c2c /etc/asterisk")
