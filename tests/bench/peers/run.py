"""Starts a peer with its order, and reads what it says at its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from attrs import define

_PATIENCE: Final = 400.0


class PeerError(Exception):
    """A peer did not do what it was started for; the text has its last words."""


@define
class Peer:
    """A program that was started, and what it said when it had ended."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def wait(self) -> dict[str, Any]:
        """Wait for its end; what it said. Raises PeerError."""
        out, error = self.process.communicate(timeout=_PATIENCE)
        if self.process.returncode:
            raise PeerError(error[-2000:])
        self.said.update(json.loads(out))
        return self.said


@contextmanager
def started(module: str, order: Mapping[str, Any]) -> Iterator[Peer]:
    """A peer at its work; it does not outlive the `with`."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.peers.{module}", json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Peer(process, {})
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(module: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Let a peer do its work; what it said."""
    with started(module, order) as peer:
        return peer.wait()
