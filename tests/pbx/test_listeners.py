"""Every kind of listener that a configuration may name: a call goes all the way through each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.certificates import Authority
from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import Behaviour

TALKS = Behaviour(ring_seconds=0.3, talk_seconds=0.5)


@contextmanager
def running(agent: AgentProcess) -> Iterator[AgentProcess]:
    """An agent whose HTTP listener the tests' own client does not know."""
    agent.start(wait=False)
    try:
        agent.logged("AMI link up", 90)
        yield agent
    finally:
        with suppress(ProcessLookupError):
            agent.kill()


def asked(*arguments: str, key: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a key of its own, and without a configuration."""
    return subprocess.run(
        [sys.executable, "-m", "c2c_agent", *arguments, "--config", "/nonexistent"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "C2C_API_KEY": key},
    )


def assert_connected(done: subprocess.CompletedProcess[str]) -> None:
    """The call was placed, both talked, and it was told."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert "outcome connected" in done.stdout


class TestHttp:
    def test_unix(self, asterisk: AsteriskHost, phone: StartPhone, tmp_path: Path) -> None:
        """The command line asks by the path; the socket's mode says who may."""
        phone("100")
        phone("200", TALKS)
        path = tmp_path / "http"
        with running(
            AgentProcess(asterisk, tmp_path, {"http": {"listen": f"unix:{path}:mode=600"}})
        ) as agent:
            assert path.stat().st_mode & 0o777 == 0o600
            assert_connected(agent.run("call", "100", "200", "--wait"))
            placed = asked("call", "100", "200", "--url", f"unix:{path}", "--wait", key=agent.key)
            assert_connected(placed)
            asked("calls", "--url", f"unix:{path}", key="c2c_nobody")
            agent.logged("unauthorized: a key that is not known, from unix")
            assert agent.run("stop-calls").stdout == "Calls are stopped.\n"
            assert agent.run("start-calls").stdout == "Calls are placed again.\n"

    def test_a_proxy_that_comes_through_a_unix_socket(
        self, asterisk: AsteriskHost, tmp_path: Path
    ) -> None:
        """Where it is trusted, its word counts for who the client is; else it is `unix`."""
        path = tmp_path / "http"
        http = {"listen": f"unix:{path}", "trusted_proxies": ["unix"]}
        with running(AgentProcess(asterisk, tmp_path, {"http": http})) as agent:
            for forwarded, client in (("192.0.2.7", "192.0.2.7"), ("nonsense", "unix")):
                with socket.socket(socket.AF_UNIX) as proxy:
                    proxy.connect(str(path))
                    proxy.sendall(
                        b"GET /c2c/v2/calls HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n"
                        b"Authorization: Bearer c2c_nobody\r\n"
                        + f"X-Forwarded-For: {forwarded}\r\n\r\n".encode()
                    )
                    assert proxy.recv(100).startswith(b"HTTP/1.1 200 ")
                agent.logged(f"unauthorized: a key that is not known, from {client}\n")

    def test_ipv6(self, asterisk: AsteriskHost, phone: StartPhone, tmp_path: Path) -> None:
        """The command line asks there, and who is refused is named by that address."""
        phone("100")
        phone("200", TALKS)
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            port = server.getsockname()[1]
        http = {"listen": rf"tcp6:{port}:interface=\:\:1"}
        with running(AgentProcess(asterisk, tmp_path, {"http": http})) as agent:
            assert_connected(agent.run("call", "100", "200", "--wait"))
            url = f"http://[::1]:{port}"
            assert_connected(asked("call", "100", "200", "--url", url, "--wait", key=agent.key))
            asked("calls", "--url", url, key="c2c_nobody")
            agent.logged("unauthorized: a key that is not known, from ::1")

    def test_tls(self, asterisk: AsteriskHost, phone: StartPhone, tmp_path: Path) -> None:
        """Whoever vouches for the agent is named; a renewed certificate needs no restart."""
        phone("100")
        phone("200", TALKS)
        authority = Authority(tmp_path)
        issued = authority.issue("pbx", asterisk.address)
        agent = AgentProcess(asterisk, tmp_path)
        listen = (
            f"ssl:{agent.http_port}:privateKey={issued.key}:certKey={issued.certificate}"
            f":interface={asterisk.address}"
        )
        agent.configure("http", {"listen": listen})
        url = f"https://{asterisk.address}:{agent.http_port}"
        with running(agent):
            assert_connected(agent.run("call", "100", "200", "--wait"))
            trusting = ("--url", url, "--ca-file", str(authority.file))
            assert_connected(asked("call", "100", "200", "--wait", *trusting, key=agent.key))
            distrusted = asked("calls", "--url", url, key=agent.key)
            assert distrusted.returncode == 1
            assert "--ca-file" in distrusted.stderr

            authority.issue("pbx", asterisk.address)
            stale = agent.run("calls")
            assert stale.returncode == 1
            assert "is not trusted" in stale.stderr
            assert agent.pid is not None
            os.kill(agent.pid, signal.SIGHUP)
            agent.logged("configuration read again")
            assert agent.run("calls").returncode == 0


class TestFastAgi:
    def test_ipv6(self, asterisk: AsteriskHost, phone: StartPhone, tmp_path: Path) -> None:
        """Asterisk finds a listener of IPv6 by the URL that it is given with the call."""
        phone("100")
        phone("200", TALKS)
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            port = server.getsockname()[1]
        agi = {"listen": rf"tcp6:{port}:interface=\:\:1"}
        with AgentProcess(asterisk, tmp_path, asterisk_changes={"agi": agi}) as agent:
            request_id = agent.call("100", "200")
            call = agent.ended(request_id)
            assert call["outcome"] == "connected"
            assert call["dial_second"]["status"] == "ANSWER"
            checked = agent.run("check")
            assert "over FastAGI to the running agent" in checked.stdout
            assert checked.returncode == 0
