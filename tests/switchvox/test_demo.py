"""The demonstration with the double of a Switchvox, as `scripts/demo` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

#: Of this process alone, so that a demonstration and other tests can run side by side.
_HIGH, _LOW = divmod(os.getpid(), 250)
_ADDRESS: Final = f"127.{64 + _HIGH // 250}.{_HIGH % 250}.{_LOW + 1}"


def test_a_call_is_placed_and_shown() -> None:
    """By its exit status it tells that the call connected; and it ends by itself."""
    demo = [sys.executable, "-m", "tests.pbx.demo", "--pbx", "switchvox", "--once"]
    done = subprocess.run(
        [*demo, "--address", _ADDRESS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Switchvox        a double, at https://127.0.0.1:" in done.stdout
    assert "$ curl -s -H 'Content-type: application/json'" in done.stdout
    for told in ("first_answered", "dialing_second", "connected", "ended  connected"):
        assert f"  {told}\n" in done.stdout
    assert '"outcome": "connected"' in done.stdout
