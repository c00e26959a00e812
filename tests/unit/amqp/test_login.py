"""How the agent and the broker know each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from pika.credentials import ExternalCredentials, PlainCredentials
from twisted.internet.testing import MemoryReactorClock

from c2c_agent.amqp.login import broker_endpoint, login_parameters
from c2c_agent.config.sections import AmqpConfig
from c2c_agent.errors import ConfigError
from tests.certificates import Authority


@pytest.fixture
def by_password(tmp_path: Path) -> AmqpConfig:
    """A login without TLS."""
    file = tmp_path / "amqp.password"
    file.write_text("hush\n")
    return AmqpConfig("127.0.0.1", 5672, username="pbx1", password_file=str(file), tls=False)


@pytest.fixture
def by_certificate(tmp_path: Path) -> AmqpConfig:
    """A login over TLS, with a certificate of its own."""
    authority = Authority(tmp_path)
    issued = authority.issue("pbx1")
    return AmqpConfig(
        "127.0.0.1",
        ca_file=str(authority.file),
        certificate_file=str(issued.certificate),
        private_key_file=str(issued.key),
    )


def test_by_password(by_password: AmqpConfig) -> None:
    """The password is read from its file."""
    parameters = login_parameters(by_password, "c2c-agent pbx1")
    assert parameters.credentials == PlainCredentials("pbx1", "hush")
    assert parameters.client_properties == {"connection_name": "c2c-agent pbx1"}
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("127.0.0.1", 5672, "/")
    assert parameters.heartbeat is not None
    assert parameters.heartbeat < 60


def test_by_certificate(by_certificate: AmqpConfig) -> None:
    """The broker takes the name from it."""
    assert isinstance(login_parameters(by_certificate, "x").credentials, ExternalCredentials)


def test_without_a_password(by_password: AmqpConfig, tmp_path: Path) -> None:
    """The file that it should be in is named."""
    (tmp_path / "amqp.password").unlink()
    with pytest.raises(ConfigError, match=r"amqp\.password: this file must hold the secret"):
        login_parameters(by_password, "x")


def test_endpoints(by_password: AmqpConfig, by_certificate: AmqpConfig) -> None:
    """With TLS or without, at the host and port that are configured."""
    reactor: Any = MemoryReactorClock()
    for config in (by_password, by_certificate, evolve(by_certificate, ca_file=None)):
        assert broker_endpoint(config, reactor) is not None


@pytest.mark.parametrize("setting", ["ca_file", "certificate_file", "private_key_file"])
def test_files_that_cannot_be_used(
    by_certificate: AmqpConfig, tmp_path: Path, setting: str
) -> None:
    """The file is named, whether it is missing or nonsense."""
    reactor: Any = MemoryReactorClock()
    file = tmp_path / "broken.pem"
    changes: dict[str, Any] = {setting: str(file)}
    broken = evolve(by_certificate, **changes)
    with pytest.raises(ConfigError, match=r"broken\.pem"):
        broker_endpoint(broken, reactor)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    for text in ("nonsense", f"{begin}\nnonsense\n{end}\n"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"broken\.pem"):
            broker_endpoint(broken, reactor)
