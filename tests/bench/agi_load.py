"""FastAGI sessions as Asterisk opens them, many at once, on bare sockets."""

from __future__ import annotations

import selectors
import socket
import time
from typing import Final

#: What Asterisk 22 says of a channel; the names are its own.
_ENVIRONMENT: Final = (
    b"agi_network: yes\nagi_network_script: c2c\nagi_request: agi://127.0.0.1:8475/c2c\n"
    b"agi_channel: Local/298@c2c-first-00000001;1\nagi_language: en\nagi_type: Local\n"
    b"agi_uniqueid: c2c-00000000-0000-4000-8000-000000000001\nagi_version: 22.10.1\n"
    b"agi_callerid: 100\nagi_calleridname: Phone 100\nagi_callingpres: 0\nagi_callingani2: 0\n"
    b"agi_callington: 0\nagi_callingtns: 0\nagi_dnid: unknown\nagi_rdnis: unknown\n"
    b"agi_context: c2c-bridge\nagi_extension: s\nagi_priority: 21\nagi_enhanced: 0.0\n"
    b"agi_accountcode: acct100\nagi_threadid: 140000000000000\n\n"
)
_REPLIES: Final = (b"200 result=1 (ANSWER)\n", b"200 result=1\n")


class _Session:
    def __init__(self, place: tuple[str, int]) -> None:
        self.socket = socket.create_connection(place)
        self.socket.sendall(_ENVIRONMENT)
        self._replies = iter(_REPLIES)

    def go_on(self) -> bool:
        """Answer what has come; False when the server has closed."""
        received = self.socket.recv(4096)
        if received:
            self.socket.sendall(next(self._replies))
        return bool(received)


def sessions(place: tuple[str, int], count: int, at_once: int) -> float:
    """Hold so many sessions, so many at once; the seconds that took."""
    began = time.perf_counter()
    with selectors.EpollSelector() as selector:
        opened = ended = 0
        while ended < count:
            while opened < count and opened - ended < at_once:
                session = _Session(place)
                selector.register(session.socket, selectors.EVENT_READ, session)
                opened += 1
            for key, _ in selector.select():
                if not key.data.go_on():
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
                    ended += 1
    return time.perf_counter() - began
