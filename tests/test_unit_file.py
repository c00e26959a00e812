"""The unit of the service: what it waits for, where a PBX is on the same host."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path
from typing import Final

import pytest

_UNIT: Final = Path(__file__).parents[1] / "systemd" / "c2c-agent.service"


@pytest.mark.parametrize("service", ["asterisk.service", "freepbx.service"])
def test_it_starts_after_the_pbx(service: str) -> None:
    """FreePBX starts Asterisk by a service of its own; neither is required, as a PBX may be far."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(_UNIT.read_text(encoding="utf-8"))
    unit = parser["Unit"]
    assert service in unit["After"].split()
    required = " ".join(unit.get(name, "") for name in ("Requires", "BindsTo", "Requisite"))
    assert service not in required.split()
