"""An agent before a Switchvox: what is looked at, and what is told of it."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from c2c_agent.config.pbx import PbxConfig, SwitchvoxConfig, TlsConfig
from c2c_agent.config.sections import Config, StoreConfig
from c2c_agent.errors import ConfigError
from c2c_agent.report.metrics import PbxSample
from c2c_agent.service.parts import Parts
from tests.memory_host import MemoryHost


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """An agent with a Switchvox alone."""
    password = tmp_path / "switchvox.password"
    password.write_text("hush\n", encoding="ascii")
    return Config(
        server_id="pbx1.example.com",
        store=StoreConfig(path=str(tmp_path / "state" / "c2c.sqlite3")),
        asterisk=None,
        switchvox=SwitchvoxConfig("http://127.0.0.1:9", "c2c-agent", str(password)),
    )


def test_its_parts(config: Config) -> None:
    """A driver of its kind, and nothing is asked before the start."""
    host = MemoryHost()
    parts = Parts(config, host)
    assert list(parts.pbxs.drivers) == ["switchvox"]
    assert parts.pbxs.drivers["switchvox"].method == "switchvox.call"
    assert host.getDelayedCalls() == []
    assert parts.health.readiness()["switchvox"] == "It has not been asked yet."
    assert parts.health.sample().pbxs == [PbxSample("switchvox", "switchvox", up=False)]


def test_one_that_has_a_name(config: Config) -> None:
    """The driver is under that name, and its faults are of that PBX."""
    assert config.switchvox is not None
    named = evolve(config, switchvox=None, pbxs={"hotel": PbxConfig(switchvox=config.switchvox)})
    parts = Parts(named, MemoryHost())
    assert list(parts.pbxs.drivers) == ["hotel"]
    assert parts.health.readiness()["pbx hotel"] == "It has not been asked yet."
    assert parts.health.sample().pbxs == [PbxSample("hotel", "switchvox", up=False)]
    assert parts.health._summary() == "Calls go to a Switchvox"
    away = PbxConfig(switchvox=evolve(config.switchvox, password_file="/nowhere"))
    with pytest.raises(ConfigError, match=r"pbxs\.hotel: .*/nowhere"):
        Parts(evolve(named, pbxs={"hotel": away}), MemoryHost())


def test_it_looks_once_in_a_minute(config: Config) -> None:
    """From its start to its end; what is away is tried by the driver itself."""
    host = MemoryHost()
    parts = Parts(config, host)
    switchvox = parts.pbxs.asked["switchvox"]
    driver, tried = switchvox.driver, []

    async def try_it() -> None:
        tried.append(host.seconds())
        driver._is_up = len(tried) < 3

    driver.try_it = try_it  # type: ignore[method-assign]
    switchvox.service.startService()
    for _ in range(5):
        host.advance(60)
    assert len(tried) == 3
    assert not parts.health.sample().pbxs[0].up
    switchvox.service.stopService()
    assert host.getDelayedCalls() == []


def test_what_cannot_be_read_is_an_error_of_the_configuration(config: Config) -> None:
    """The password, and the authority."""
    assert config.switchvox is not None
    no_password = evolve(config.switchvox, password_file="/nowhere/password")
    with pytest.raises(ConfigError, match="/nowhere/password"):
        Parts(evolve(config, switchvox=no_password), MemoryHost())
    no_authority = evolve(
        config.switchvox, url="https://pbx.example.com", tls=TlsConfig(ca_file="/nowhere/ca.pem")
    )
    with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem"):
        Parts(evolve(config, switchvox=no_authority), MemoryHost())
