"""A wire between the agent and what it talks to, that a test can cut, mend, and make deaf."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_TICK: Final = 0.02


class Wire:
    """Passes bytes from connections to `address`:`port` on to `target`, as long as it is whole.

    `deaf`: what comes from the target is swallowed, while what goes to it arrives; `mute`: the
    other way round. `held`: what comes from the target waits until it is not held any more.
    `cut_within`: words of the target in whose middle it breaks. `narrow`: it holds few bytes, so
    that who sends soon feels that nobody reads. `passed`: bytes that went on to the target.
    """

    def __init__(self, address: str, port: int, target: tuple[str, int]) -> None:
        self.place = (address, port)
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.deaf = False
        self.mute = False
        self.held = False
        self.cut_within = b""
        self.narrow = False
        self.connections = 0
        self.passed = 0

    def __enter__(self) -> Self:
        self.mend()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self.cut()

    def mend(self) -> None:
        """Take connections again."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.place)
        listener.listen()
        with self._lock:
            self._listener = listener

    def cut(self) -> None:
        """Break every connection at once, and refuse new ones."""
        with self._lock:
            self._cut()

    def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._pairs = []

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._pass_on()
            self._stopping.wait(_TICK / 4)

    def _pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            if self._listener is not None:
                selector.register(self._listener, selectors.EVENT_READ)
            for pair in self._pairs:
                near, far = pair
                selector.register(near, selectors.EVENT_READ, (pair, far))
                if not self.held:
                    selector.register(far, selectors.EVENT_READ, (pair, near))
            for key, _ in selector.select(_TICK / 4):
                if key.data is None:
                    self._connect()
                else:
                    self._copy(key.fileobj, *key.data)

    def _connect(self) -> None:
        assert self._listener is not None
        near, _ = self._listener.accept()
        far = socket.socket()
        if self.narrow:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            far.settimeout(1)
            far.connect(self._target)
        except OSError:
            near.close()
            far.close()
            return
        far.settimeout(None)
        self.connections += 1
        self._pairs.append((near, far))

    def _copy(
        self, source: object, pair: tuple[socket.socket, socket.socket], other: socket.socket
    ) -> None:
        assert isinstance(source, socket.socket)
        if pair not in self._pairs:
            return
        try:
            data = source.recv(65536)
            swallowed = self.deaf if source is pair[1] else self.mute
            if source is pair[1] and self.cut_within and self.cut_within in data:
                other.sendall(data[: data.index(self.cut_within) + len(self.cut_within) - 1])
                self.cut_within = b""
                self._cut()
                return
            if data and not swallowed:
                other.sendall(data)
                self.passed += len(data) if source is pair[0] else 0
        except OSError:
            data = b""
        if not data:
            self._pairs.remove(pair)
            for end in pair:
                end.close()
