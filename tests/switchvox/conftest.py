"""A Switchvox double on the network, in a thread of its own, for each test that wants one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.switchvox.server import Running, serve


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The PBX's own certificate authority, as each Switchvox has one."""
    return Authority(tmp_path)


@pytest.fixture
def switchvox(authority: Authority) -> Iterator[Callable[..., Running]]:
    """Starts doubles; `tls=False` for plain HTTP."""
    with ExitStack() as stack:

        def start(*, tls: bool = True, certificate: str = "switchvox") -> Running:
            issued = authority.issue(certificate, "127.0.0.1") if tls else None
            return stack.enter_context(serve(issued))

        yield start
