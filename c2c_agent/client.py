"""The command line's side of the HTTP API: asks the running agent, and waits for what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from c2c_agent.config import Config, tcp_address
from c2c_agent.errors import C2CError

#: Seconds for an answer; the agent's own limit for the PBX is shorter.
_PATIENCE: Final = 90.0

#: Seconds for which a status is held back while nothing happens.
_WAIT: Final = 30

_PREFIX: Final = "/c2c/v2"


class ClientError(C2CError):
    """The agent could not be asked; the message says what to do."""


def local_url(config: Config) -> str:
    """Where the agent of this configuration listens; raises ClientError where that is no TCP."""
    address = tcp_address(config.http.listen)
    if address is None:
        raise ClientError(f"The agent listens on {config.http.listen!r}; give its URL with --url.")
    scheme = "https" if config.http.listen.startswith("ssl:") else "http"
    return f"{scheme}://{address}"


def operator_secret(config: Config) -> str:
    """The key of this host's command line, which the running agent has made beside its store."""
    file = Path(config.store.path).parent / "operator.key"
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ClientError(
            f"{file} cannot be read ({error.strerror}): run this as root or as the agent's user, "
            "on the agent's host, after its first start; or give a key in $C2C_API_KEY."
        ) from error


class Client:
    """The HTTP API of one agent, as one key."""

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        self._connection_type = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._address = parts.netloc
        self._path = parts.path.rstrip("/") + _PREFIX
        self._headers = {"Authorization": f"Bearer {secret}", "Accept": "application/json"}

    def call(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Place a call; the answer's JSON."""
        return self._ask("POST", "", parameters)

    def cancel(self, request_id: str) -> dict[str, Any]:
        """Cancel a call; the answer's JSON."""
        return self._ask("POST", f"/cancel/{request_id}", {})

    def calls(self, limit: int) -> list[dict[str, Any]]:
        """The latest calls, newest first."""
        answer = self._ask("GET", f"/calls?{urlencode({'limit': limit})}")
        if "calls" not in answer:
            raise ClientError(_first_error(answer["response"]["errors"]))
        calls: list[dict[str, Any]] = answer["calls"]
        return calls

    def status(self, request_id: str, **waiting: int) -> dict[str, Any]:
        """The status of a request: the part within `c2c_status`."""
        query = f"?{urlencode(waiting)}" if waiting else ""
        answer = self._ask("GET", f"/status/{request_id}{query}")
        status: dict[str, Any] | None = answer["c2c_status"]
        if status is None:
            raise ClientError(_first_error(answer["errors"]))
        return status

    def follow(self, request_id: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each entry of a call's timeline as it comes, with the call as it then is; to the end."""
        seen = 0
        while True:
            call = self.status(request_id, wait=_WAIT, seen=seen)["call"]
            for entry in call["timeline"][seen:]:
                yield entry, call
            seen = len(call["timeline"])
            if call["state"] == "ended":
                return

    def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        connection = self._connection_type(self._address, timeout=_PATIENCE)
        headers = dict(self._headers)
        body = None
        if form is not None:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, self._path + path, body, headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            message = f"The agent at {self._address} does not answer ({error}). Is it running?"
            raise ClientError(message) from error
        finally:
            connection.close()
        return answer


def _first_error(errors: list[dict[str, Any]]) -> str:
    return str(errors[0]["error"]["message"])
