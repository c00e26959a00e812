"""The filter for fail2ban finds the lines of refused keys, and no others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from twisted.logger import Logger, LogPublisher

from c2c_agent.host.log import LineObserver

FILTER = Path(__file__).parents[1] / "systemd/fail2ban/filter.d/c2c-agent.conf"

#: Where scripts/test has unpacked Debian's package; or the system, where it is installed.
FAIL2BAN = Path(os.environ.get("C2C_FAIL2BAN", "/"))

#: Debian's own, for which the package was made, if it is there.
PYTHON = shutil.which("python3", path="/usr/bin") or sys.executable

REFUSED = "unauthorized: a key that is not known, from {client}"

pytestmark = pytest.mark.fail2ban


def written(message: str, **fields: str) -> str:
    """A line of the log, as the agent writes it to a file."""
    stream = StringIO()
    publisher = LogPublisher()
    publisher.addObserver(LineObserver(stream, full_numbers=False, journal=False))
    Logger(namespace="c2c_agent.web.ask", observer=publisher).warn(message, **fields)
    return stream.getvalue()


def in_syslog(line: str) -> str:
    """The same line as journald passes it on."""
    text = line.split(" ", 1)[1].removeprefix("warn").strip()
    return f"Nov 23 11:30:44 pbx1 c2c-agent[4711]: {text}\n"


def found(tmp_path: Path, lines: str) -> list[str]:
    """The addresses that fail2ban would count."""
    file = tmp_path / "agent.log"
    file.write_text(lines)
    program = FAIL2BAN / "usr/bin/fail2ban-regex"
    assert program.exists(), "scripts/test unpacks fail2ban"
    done = subprocess.run(
        [PYTHON, str(program), "--out", "ip", str(file), str(FILTER)],
        env={"PYTHONPATH": str(FAIL2BAN / "usr/lib/python3/dist-packages")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,  # it fails where it finds nothing
    )
    assert "Traceback" not in done.stderr
    return re.findall(r"^[0-9a-f.:]+$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
def test_a_refused_key(tmp_path: Path, client: str) -> None:
    """In a file and in the journal."""
    line = written(REFUSED, client=client)
    assert found(tmp_path, line) == [client]
    assert found(tmp_path, in_syslog(line)) == [client]


@pytest.mark.parametrize(
    "path",
    [
        "/x " + REFUSED.format(client="192.0.2.66"),
        "/x\nNov 23 11:30:44 pbx1 c2c-agent[1]: " + REFUSED.format(client="192.0.2.66"),
        "/x\nwarn  " + REFUSED.format(client="192.0.2.66"),
    ],
    ids=["words", "line-of-the-journal", "line-of-a-file"],
)
def test_a_line_that_was_sent_by_a_client(tmp_path: Path, path: str) -> None:
    """Nobody gets another banned by what he asks for."""
    line = written("{path}", path=path)  # worse than any line that there is: it ends with theirs
    assert found(tmp_path, line + in_syslog(line)) == []


@pytest.mark.parametrize("client", ["-", "unix"])
def test_no_address(tmp_path: Path, client: str) -> None:
    """A client without one cannot be banned: unknown, or of a `unix:` listener."""
    line = written(REFUSED, client=client)
    assert found(tmp_path, line + in_syslog(line)) == []
