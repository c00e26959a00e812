"""The command line's side of the HTTP API: asks the running agent, and waits for what happens."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPSConnection
from http.client import RemoteDisconnected as Disconnected
from typing import Any, Final, cast
from urllib.parse import quote, urlencode, urlsplit

from attrs import frozen

from c2c_agent.config.files import operator_file
from c2c_agent.config.sections import Config
from c2c_agent.errors import C2CError
from c2c_agent.net.listening import listening
from c2c_agent.policy.keys import is_secret

#: Seconds for an answer; the agent's own limit for the PBX is shorter.
_PATIENCE: Final = 90.0

#: The same where there is another way, and no time to lose.
_HURRY: Final = 5.0

#: Seconds for which a status is held back while nothing happens.
_WAIT: Final = 30

_PREFIX: Final = "/c2c/v2"

#: Bytes of what `/healthz` says that are looked at.
_LONGEST_HEALTH: Final = 65536


class ClientError(C2CError):
    """The agent could not be asked; the message says what to do."""


class NobodyThere(ClientError):  # noqa: N818 - it says what was found
    """Nothing listens where the agent should: there is none, or it listens somewhere else."""


@frozen
class Place:
    """Where an agent is: a host with its port, or the path of a UNIX socket.

    `tls` verifies it, where it speaks TLS. `path` is what its own paths begin with.
    """

    address: str
    path: str = ""
    is_unix: bool = False
    tls: ssl.SSLContext | None = None

    def connection(self, patience: float) -> HTTPConnection:
        """A connection that is not made yet."""
        if self.is_unix:
            return _UnixConnection(self.address, patience)
        if self.tls is not None:
            return HTTPSConnection(self.address, timeout=patience, context=self.tls)
        return HTTPConnection(self.address, timeout=patience)

    def has_somebody(self) -> bool:
        """Whether anybody listens there, be it an agent or not."""
        connection = self.connection(_HURRY)
        try:
            connection.connect()
        except _NOBODY:
            return False
        except OSError:
            pass  # silent, or of no TLS that we trust; but there
        finally:
            connection.close()
        return True


def fastagi_of(config: Config) -> str | None:
    """Where the running agent takes FastAGI connections, as `host:port`; empty: it does not say.

    None where no agent answers.
    """
    try:
        connection = local_place(config).connection(_HURRY)
    except ClientError:
        return None
    try:
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read(_LONGEST_HEALTH))
    except (OSError, HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    match answer:
        case {"status": "ok", **more}:
            return str(more.get("fastagi", ""))
    return None


#: What connecting fails with where nothing listens.
_NOBODY: Final = (ConnectionRefusedError, FileNotFoundError)


class _UnixConnection(HTTPConnection):
    """A connection to a UNIX socket."""

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._socket_path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def place_of(url: str, ca_file: str | None = None) -> Place:
    """The place that a URL names: http://, https://, or unix: and a path; raises ClientError.

    `ca_file` has the authorities, or the very certificate, that may vouch for https.
    """
    if url.startswith("unix:/"):
        return Place(url.removeprefix("unix:"), is_unix=True)
    try:
        parts = urlsplit(url)
        possible = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        possible = False
    if not possible:
        example = "http://127.0.0.1:8470 or unix:/run/c2c-agent/http"
        raise ClientError(f"{url!r} is no URL of an agent, such as {example}.")
    tls = _trusting(ca_file) if parts.scheme == "https" else None
    return Place(parts.netloc, parts.path.rstrip("/"), tls=tls)


def local_place(config: Config) -> Place:
    """Where the agent of this configuration listens, as its own host reaches it.

    Over TLS the certificate has to be the one that the configuration names: whatever name it
    has, it is the agent's. Raises ClientError.
    """
    listens = listening(config.http.listen)
    if listens.address is None:
        return Place(listens.place, is_unix=True)
    if listens.kind != "ssl":
        return Place(listens.address)
    tls = _trusting(listens.fields.get("certKey", listens.fields["privateKey"]))
    tls.check_hostname = False
    return Place(listens.address, tls=tls)


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError among them, for a file without certificates
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        message = f"{ca_file}: this file must hold certificates in PEM ({reason})"
        raise ClientError(message) from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


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
    """The HTTP API of one agent, as one key. Raises ClientError for what is no key."""

    def __init__(self, place: Place, secret: str) -> None:
        secret = secret.strip()
        if not is_secret(secret):
            raise ClientError(
                "The key that was given is no key: it is empty, or has characters that no key has."
            )
        self._place = place
        self._address = place.address
        self._path = place.path + _PREFIX
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

    def targets(self) -> list[dict[str, Any]]:
        """How it stands with each who is told of calls."""
        answer = self._ask("GET", "/targets")
        match answer:
            case {"targets": list(targets)}:
                return targets
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

    def calls(self, limit: int, **wanted: str) -> list[dict[str, Any]]:
        """The latest calls that are wanted, newest first."""
        answer = self._ask("GET", f"/calls?{urlencode({'limit': limit, **wanted})}")
        match answer:
            case {"calls": list(calls)}:
                return calls
        raise self._error(answer)

    def calls_csv(self, limit: int, **wanted: str) -> str:
        """The same as a table, with the names of its columns."""
        query = urlencode({"limit": limit, **wanted, "format": "csv"})
        answer = self._fetch("GET", f"/calls?{query}")
        if answer.startswith(b"{"):
            raise self._error(self._json(answer))
        return answer.decode()

    def reports(self, limit: int, **wanted: str) -> list[dict[str, Any]]:
        """What receivers were not told yet, newest first."""
        answer = self._ask("GET", f"/reports?{urlencode({'limit': limit, **wanted})}")
        match answer:
            case {"reports": list(reports)}:
                return reports
        raise self._error(answer)

    def key_list(self) -> list[dict[str, Any]]:
        """The keys that may be seen, with their limits and their use."""
        answer = self._ask("GET", "/keys")
        match answer:
            case {"keys": list(keys)}:
                return keys
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
        return self._json(self._fetch(method, path, form, patience=patience))

    def _json(self, answer: bytes) -> object:
        try:
            read: object = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self._no_agent() from error
        return read

    def _fetch(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        *,
        patience: float = _PATIENCE,
    ) -> bytes:
        """What is answered, as it is."""
        connection = self._place.connection(patience)
        headers = dict(self._headers)
        body = None
        if form is not None:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, self._path + path, body, headers)
            return connection.getresponse().read()
        except _NOBODY as error:
            raise NobodyThere(self._silent(error)) from error
        except ssl.SSLCertVerificationError as error:
            raise ClientError(
                f"The certificate of {self._address} is not trusted ({error.verify_message}). Name "
                "its authority, or the certificate itself, with --ca-file; and the host by the "
                "name that the certificate has."
            ) from error
        except Disconnected as error:
            raise ClientError(self._silent(error)) from error
        except (BadStatusLine, ssl.SSLError, ValueError, RecursionError) as error:
            raise self._no_agent() from error
        except (OSError, HTTPException) as error:
            raise ClientError(self._silent(error)) from error
        finally:
            connection.close()

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
        return self._no_agent()

    def _silent(self, error: Exception) -> str:
        return f"The agent at {self._address} does not answer ({error}). Is it running?"

    def _no_agent(self) -> ClientError:
        return ClientError(f"What answers at {self._address} is no c2c-agent.")
