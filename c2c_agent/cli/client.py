"""The command line's side of the HTTP API: asks the running agent, and waits for what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final, cast
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from c2c_agent.config.files import operator_file
from c2c_agent.config.sections import Config
from c2c_agent.errors import C2CError
from c2c_agent.net.endpoints import tcp_address
from c2c_agent.policy.keys import is_secret

#: Seconds for an answer; the agent's own limit for the PBX is shorter.
_PATIENCE: Final = 90.0

#: The same where there is another way, and no time to lose.
_HURRY: Final = 5.0

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
    file = operator_file(config)
    try:
        secret = file.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise ClientError(
            f"{file} cannot be read ({error.strerror}): run this as root or as the agent's user, "
            "on the agent's host, after its first start; or give a key in $C2C_API_KEY."
        ) from error
    if not is_secret(secret):
        raise ClientError(f"{file} holds no key: remove it, and restart the agent.")
    return secret


class Client:
    """The HTTP API of one agent, as one key. Raises ClientError for what is no URL or no key."""

    def __init__(self, url: str, secret: str) -> None:
        parts = _parse(url)
        secret = secret.strip()
        if not is_secret(secret):
            raise ClientError(
                "The key that was given is no key: it is empty, or has characters that no key has."
            )
        self._connection_type = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._address = parts.netloc
        self._path = parts.path.rstrip("/") + _PREFIX
        self._headers = {"Authorization": f"Bearer {secret}", "Accept": "application/json"}

    def call(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Place a call; the answer's JSON."""
        return self._response(self._ask("POST", "", parameters))

    def cancel(self, request_id: str) -> dict[str, Any]:
        """Cancel a call; the answer's JSON."""
        return self._response(self._ask("POST", f"/cancel/{quote(request_id, safe='')}", {}))

    def replay(self, target: str | None, request_id: str | None) -> int:
        """Send dead letters again; gives how many."""
        given = {"target": target, "request_id": request_id}
        answer = self._ask(
            "POST", "/replay", {name: value for name, value in given.items() if value}
        )
        match answer:
            case {"replayed": int(count)}:
                return count
        raise self._error(answer)

    def stop_calls(self, reason: str, *, hang_up: bool) -> int:
        """Have no call placed any more; how many in progress are hung up."""
        form = {"reason": reason, "hang_up": "true" if hang_up else "false"}
        answer = self._ask("POST", "/stop-calls", form, patience=_HURRY)
        match answer:
            case {"stopped": True, "hung_up": int(count)}:
                return count
        raise self._error(answer)

    def start_calls(self) -> bool:
        """Have calls placed again; whether they had been stopped."""
        answer = self._ask("POST", "/start-calls", {})
        match answer:
            case {"stopped": False, "were_stopped": bool(was)}:
                return was
        raise self._error(answer)

    def calls(self, limit: int) -> list[dict[str, Any]]:
        """The latest calls, newest first."""
        answer = self._ask("GET", f"/calls?{urlencode({'limit': limit})}")
        match answer:
            case {"calls": list(calls)}:
                return calls
        raise self._error(answer)

    def status(self, request_id: str, **waiting: int) -> dict[str, Any]:
        """The status of a request: the part within `c2c_status`."""
        query = f"?{urlencode(waiting)}" if waiting else ""
        answer = self._ask("GET", f"/status/{quote(request_id, safe='')}{query}")
        match answer:
            case {"c2c_status": {"call": dict()} as status}:
                return cast("dict[str, Any]", status)
        raise self._error(answer)

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

    def _ask(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        patience: float = _PATIENCE,
    ) -> object:
        connection = self._connection_type(self._address, timeout=patience)
        headers = dict(self._headers)
        body = None
        if form is not None:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, self._path + path, body, headers)
            answer: object = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            message = f"The agent at {self._address} does not answer ({error}). Is it running?"
            raise ClientError(message) from error
        finally:
            connection.close()
        return answer

    def _response(self, answer: object) -> dict[str, Any]:
        match answer:
            case {"response": {"request_id": _, "status": str(), "errors": list()}}:
                return cast("dict[str, Any]", answer)
        raise self._error(answer)

    def _error(self, answer: object) -> ClientError:
        """Why an answer is not what was asked for."""
        match answer:
            case {"errors": [{"error": {"message": str(message)}}, *_]} | {
                "response": {"errors": [{"error": {"message": str(message)}}, *_]}
            }:
                return ClientError(message)
        return ClientError(f"What answers at {self._address} is no c2c-agent.")


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise ClientError(f"{url!r} is no URL of an agent, such as http://127.0.0.1:8470.")
