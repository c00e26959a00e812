"""The agent as a user runs it: a process of its own, asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import yaml

from c2c_agent.policy.keys import key_digest
from tests.pbx.hosts import AMI_PORT
from tests.pbx.waiting import Patience, WaitedInVainError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from tests.pbx.hosts import AsteriskHost

KEY: Final = "a key that may dial the phones"
OTHER_KEY: Final = "another key of the tests"

_START_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 20.0  # it answers at once, unless the whole machine stands still
#: Each agent of this process has two of its own; on its address an Asterisk listens, too.
_PORTS = (port for port in range(4600, 5600) if port != AMI_PORT)


class AgentProcess:
    """One agent beside one Asterisk, with a store of its own in `directory`.

    `changes` are laid over the configuration, section by section; `asterisk_changes` over its
    section `asterisk`. `module` is what is run, as `c2c_agent` is.
    """

    def __init__(
        self,
        host: AsteriskHost,
        directory: Path,
        changes: Mapping[str, Any] | None = None,
        *,
        asterisk_changes: Mapping[str, Any] | None = None,
        ami_port: int | None = None,
        ports: tuple[int, int] | None = None,
        key: str = KEY,
        environment: Mapping[str, str] | None = None,
        module: str = "c2c_agent",
    ) -> None:
        self.host = host
        self.directory = directory
        self.ami_port = ami_port or host.ami_port
        self.http_port, self.agi_port = ports or (next(_PORTS), next(_PORTS))
        self.key = key
        self._environment = dict(environment or {})
        self._module = module
        self.config = directory / "c2c-agent.yml"
        self.url = f"http://{host.address}:{self.http_port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "agent.log"
        self._answers = directory / "answers.log"
        secret = directory / "ami.secret"
        secret.write_text(host.ami_secret + "\n", encoding="utf-8")
        secret.chmod(0o640)
        configuration = self._configuration()
        for section, values in (changes or {}).items():
            if isinstance(values, dict) and isinstance(configuration.get(section), dict):
                configuration[section] |= values
            else:
                configuration[section] = values
        for section, values in (asterisk_changes or {}).items():
            below = configuration["asterisk"].get(section)
            merged = {**below, **values} if isinstance(below, dict) else values
            configuration["asterisk"][section] = merged
        self.config.write_text(yaml.safe_dump(configuration), encoding="utf-8")

    def _configuration(self) -> dict[str, Any]:
        address = self.host.address
        return {
            "server_id": "pbx.test",
            "store": {"path": str(self.directory / "c2c.sqlite3")},
            "http": {"listen": f"tcp:{self.http_port}:interface={address}"},
            "asterisk": {
                "ami": {
                    "host": address,
                    "port": self.ami_port,
                    "username": self.host.ami_username,
                    "secret_file": str(self.directory / "ami.secret"),
                },
                "agi": {"listen": f"tcp:{self.agi_port}:interface={address}"},
            },
            "calls": {"timeout": 10},
            "log": {"level": "debug", "numbers": "full"},  # see tests/written.py
            "keys": [
                {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"]},
                {"name": "other", "sha256": key_digest(OTHER_KEY), "allow": ["_1XX"]},
            ],
        }

    def configure(self, section: str, values: object) -> None:
        """Put something else in the place of a whole section; for the next start."""
        configuration = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        configuration[section] = values
        self.config.write_text(yaml.safe_dump(configuration), encoding="utf-8")

    # The process

    def start(self, *, wait: bool = True, launcher: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it can place calls.

        With `launcher` it runs inside `tests.pbx.launcher`, which these variables tell what to do.
        """
        module = self._module if launcher is None else "tests.pbx.launcher"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "HOME": str(self.directory),
                    **self._environment,
                    **(launcher or {}),
                },
            )
        if wait:
            wait_until(self.is_ready, _START_SECONDS, f"the agent is ready:\n{self.log()}")
            self._note_process(self._process.pid)

    def stop(self) -> None:
        """Stop it as systemd does."""
        with suppress(OSError, HTTPException):  # it may have ended by itself
            for path in ("/metrics", "/readyz"):
                self._noted(self._get(path))
        self._end(signal.SIGTERM)
        breaches = [line for line in self.log().splitlines() if "a breach of the driver" in line]
        assert not breaches, breaches

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def was_killed(self, timeout: float) -> bool:
        """Wait until it has been ended by SIGKILL, from wherever that comes; False if it is not."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        assert code == -signal.SIGKILL, f"ended with {code}:\n{self.log()}"
        self._process = None
        return True

    @property
    def pid(self) -> int | None:
        """The id of its process while it runs."""
        return self._process.pid if self._process else None

    def _end(self, signal_number: int) -> None:
        if self._process is not None:
            self._process.send_signal(signal_number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise WaitedInVainError(f"the agent did not end:\n{self.log()}") from None
            finally:
                self._process = None

    @property
    def ended_by_itself(self) -> int | None:
        """The exit status, if it has ended although nobody ended it."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def is_ready(self) -> bool:
        """Tell whether it says that it can place calls."""
        if self._process is not None and self._process.poll() is not None:
            raise WaitedInVainError(f"the agent does not stay up:\n{self.log()}")
        try:
            with urlopen(f"{self.url}/readyz", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line beside it, to its end."""
        command = [sys.executable, "-m", "c2c_agent", *arguments, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self._noted(f"{done.stdout}{done.stderr}".encode())
        return done

    def logged(self, text: str, timeout: float = 20) -> None:
        """Wait until it has logged something."""
        wait_until(lambda: text in self.log(), timeout, f"{text!r} in the log")

    # What tests/written.py looks through

    def _note_process(self, pid: int) -> None:
        """Keep what the system shows of the process to others."""
        shown = [Path("/proc", str(pid), name).read_bytes() for name in ("cmdline", "environ")]
        with (self.directory / "process.log").open("ab") as log:
            log.write(b"\n".join(shown).replace(b"\0", b"\n"))

    def _noted(self, body: bytes) -> bytes:
        with self._answers.open("ab") as log:
            log.write(body + b"\n")
        return body

    # HTTP

    def _get(self, path: str) -> bytes:
        try:
            with urlopen(self.url + path, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - our own
                return bytes(answer.read())
        except HTTPError as error:
            return error.read()

    def ask(self, path: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Send a GET, or a POST of a form; the JSON of the answer."""
        data = urlencode(form).encode() if form is not None else None
        request = Request(self.url + path, data)  # noqa: S310 - our own
        with urlopen(request, timeout=90) as answer:  # noqa: S310
            body: dict[str, Any] = json.loads(self._noted(answer.read()))
        return body

    def readiness(self) -> dict[str, str]:
        """What it says of its parts, ready or not."""
        try:
            with urlopen(f"{self.url}/readyz", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - our own
                body = json.load(answer)
        except HTTPError as error:
            body = json.load(error)
        parts: dict[str, str] = body["parts"]
        return parts

    def metrics(self) -> str:
        """What it tells Prometheus."""
        with urlopen(f"{self.url}/metrics", timeout=30) as answer:  # noqa: S310 - our own
            text: bytes = answer.read()
        return text.decode()

    def place(self, first: str, second: str, key: str | None = None, **more: str) -> dict[str, Any]:
        """Ask for a call; the `response` of the answer."""
        query = {"dial_first": first, "dial_second": second, "api_key": key or self.key, **more}
        response: dict[str, Any] = self.ask(f"/c2c/v2?{urlencode(query, quote_via=quote)}")[
            "response"
        ]
        return response

    def call(self, first: str, second: str, **more: str) -> str:
        """Ask for a call that Asterisk accepts; its request id."""
        response = self.place(first, second, **more)
        assert response["status"] == "success", response
        return str(response["request_id"])

    def status(self, request_id: str, **waiting: int) -> dict[str, Any]:
        """The status of a request."""
        query = f"?{urlencode(waiting)}" if waiting else ""
        status: dict[str, Any] = self.ask(f"/c2c/v2/status/{request_id}{query}")["c2c_status"]
        return status

    def ended(self, request_id: str) -> dict[str, Any]:
        """The call of a request, when it has ended."""
        call: dict[str, Any] = self.status(request_id, wait=60)["call"]
        assert call["state"] == "ended", call
        return call

    def reached(self, request_id: str, state: str, timeout: float = 20) -> dict[str, Any]:
        """The call of a request, when it has come to a state."""
        patience = Patience(timeout)
        while True:
            call: dict[str, Any] = self.status(request_id)["call"]
            events = [entry["event"] for entry in call["timeline"]]
            if state in events:
                return call
            if patience.left < 0:
                raise WaitedInVainError(f"not within {timeout} s: {state}; {events}\n{self.log()}")
            self.status(request_id, wait=1, seen=len(events))

    def stored(self, request_id: str, state: str, timeout: float = 20) -> None:
        """Wait until a state of a call would survive a crash."""
        query = "SELECT 1 FROM calls WHERE request_id = ? AND state = ?"
        with closing(sqlite3.connect(self.directory / "c2c.sqlite3")) as store:

            def there() -> bool:
                return store.execute(query, (request_id, state)).fetchone() is not None

            wait_until(there, timeout, f"{state} of {request_id} is stored")

    def owes(self, request_id: str) -> int:
        """How many reports of a call wait in the store to be delivered."""
        query = "SELECT count(*) FROM outbox WHERE request_id = ?"
        with closing(sqlite3.connect(self.directory / "c2c.sqlite3")) as store:
            return int(store.execute(query, (request_id,)).fetchone()[0])

    def cancel(self, request_id: str, key: str | None = None) -> dict[str, Any]:
        """Ask for a call's end; the `response` of the answer."""
        answer = self.ask(f"/c2c/v2/cancel/{request_id}", {"api_key": key or self.key})
        response: dict[str, Any] = answer["response"]
        return response
