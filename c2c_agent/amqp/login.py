"""Where the broker is, and how it and the agent know each other: by TLS, password, certificate.

Raises ConfigError for files that cannot be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pika
from OpenSSL.crypto import Error as OpenSSLError
from pika.credentials import ExternalCredentials, PlainCredentials
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    PrivateCertificate,
    optionsForClientTLS,
)

from c2c_agent.config.files import read_secret
from c2c_agent.config.sections import AmqpConfig
from c2c_agent.errors import ConfigError, of_setting
from c2c_agent.net.endpoints import trust_root

#: Seconds without a word after which either side takes the other for dead; asked for every half.
_HEARTBEAT: Final = 20

#: Seconds that the broker may hold our messages back (it does where it runs short of memory or
#: disk) before the link is made anew.
_BLOCKED: Final = 60


def broker_endpoint(config: AmqpConfig, reactor: Any) -> IStreamClientEndpoint:
    """Where the broker is; over TLS its certificate is verified for that host."""
    endpoint = HostnameEndpoint(reactor, config.host.encode(), config.port)
    if not config.tls:
        return endpoint
    with of_setting("amqp.ca_file"):
        trust = trust_root(config.ca_file)
    own = _own_certificate(config)
    options = optionsForClientTLS(config.host, trustRoot=trust, clientCertificate=own)
    return wrapClientTLS(options, endpoint)


def login_parameters(config: AmqpConfig, name: str) -> pika.ConnectionParameters:
    """How to log in. `name` is what the broker lists the connection by."""
    if config.password_file is None:
        credentials: Any = ExternalCredentials()
    else:
        with of_setting("amqp.password_file"):
            credentials = PlainCredentials(config.username, read_secret(config.password_file))
    return pika.ConnectionParameters(
        host=config.host,
        port=config.port,
        virtual_host=config.virtual_host,
        credentials=credentials,
        heartbeat=_HEARTBEAT,
        blocked_connection_timeout=_BLOCKED,
        client_properties={"connection_name": name},
    )


def _own_certificate(config: AmqpConfig) -> PrivateCertificate | None:
    if config.certificate_file is None or config.private_key_file is None:
        return None
    with of_setting("amqp.certificate_file"):
        certificate = _bytes(config.certificate_file)
    with of_setting("amqp.private_key_file"):
        key = _bytes(config.private_key_file)
    try:
        own: PrivateCertificate = PrivateCertificate.loadPEM(certificate + b"\n" + key)
    except OpenSSLError as error:
        files = f"{config.certificate_file}, {config.private_key_file}"
        words = f"amqp.certificate_file: {files}: no certificate with its key, in PEM: {error}"
        raise ConfigError(words) from None
    return own


def _bytes(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
