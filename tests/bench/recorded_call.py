"""One call as the agent's AMI user hears it of a real Asterisk, cut for `scripted_asterisk`."""

from __future__ import annotations

import socket
from typing import Final

from tests.bench.agent_calls import place_calls
from tests.bench.places import Bench

_END: Final = b"\r\n\r\n"


def recorded_call(bench: Bench) -> dict[str, str]:
    """The events of one call: until the first leg has answered, during the Dial, and after it.

    Where the agent's FastAGI was called is known by what came of it: the first DialBegin of which
    the call's own channel is the caller.
    """
    host, port, user, secret = bench.ami
    with socket.create_connection((host, port)) as connection:
        login = f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\nEvents: call\r\n\r\n"
        connection.sendall(login.encode())
        with bench.agent() as agent:
            place_calls(agent, 1, 1)
        connection.sendall(b"Action: Logoff\r\n\r\n")
        heard = b""
        while data := connection.recv(1 << 16):
            heard += data
    events = [event for event in heard.split(_END) if event.startswith(b"Event: ")]
    root = _value(events[0], b"Uniqueid")
    dial = next(
        number
        for number, event in enumerate(events)
        if event.startswith(b"Event: DialBegin") and _value(event, b"Uniqueid") == root
    )
    # Of its channels the far halves end first; the root is the last to be hung up.
    end = max(
        number
        for number, event in enumerate(events)
        if event.startswith(b"Event: DialEnd") and _value(event, b"Uniqueid") == root
    )
    parts = {"begun": events[:dial], "dialed": events[dial : end + 1], "ended": events[end + 1 :]}
    return {name: _text(part).replace(root.decode(), "@ID@") for name, part in parts.items()}


def _value(event: bytes, name: bytes) -> bytes:
    return event.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def _text(events: list[bytes]) -> str:
    return "".join(f"{event.decode()}\r\n\r\n" for event in events)
