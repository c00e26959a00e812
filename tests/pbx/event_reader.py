"""Clients of live events: one that reads at once, and one that never does."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tests.memory_host import request
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Bytes that the kernel is to take in for who does not read; it takes no fewer.
_SMALLEST: Final = 2048


class EventReader:
    """Reads a stream as it comes, in a thread; `events` are those that have come."""

    def __init__(self, url: str, key: str | None = None, last_event_id: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        self._request = Request(url, headers=headers)  # noqa: S310 - our own
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._began = threading.Event()
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.content_type = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._began.wait(20), "the stream did not begin"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """It ends with its stream, at the latest when the agent does."""

    def ended(self) -> None:
        """Wait until the stream has ended by itself."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the stream has not ended"

    def of(self, request_id: str) -> list[str]:
        """The types of the events of a request, in order."""
        return [event["type"] for event in self.events if event["request_id"] == request_id]

    def wait_for(self, count: int) -> None:
        """Wait until so many events have come."""
        wait_until(lambda: len(self.events) >= count, 30, f"{count} events have come")

    def _read(self) -> None:
        with urlopen(self._request, timeout=60) as answer:  # noqa: S310 - our own
            self.content_type = answer.headers["Content-Type"]
            name = ""
            for line in answer:
                self._began.set()  # with the line `retry`
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "id":
                    self.ids.append(value)
                elif field == "event":
                    name = value
                elif field == "data":
                    event = json.loads(value)
                    assert (event["type"], event["id"]) == (name, self.ids[-1])
                    self.events.append(event)


class SleepingReader:
    """Asks for a stream, and never reads any of it."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST)
        self._socket.connect((parts.hostname, parts.port))
        self._socket.sendall(request(parts.path, "Host: pbx", f"Authorization: Bearer {key}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def is_cut(self) -> bool:
        """Tell whether the other side has ended the connection; nothing is read for it."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
