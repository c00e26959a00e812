"""The client that a configuration describes: where, over which TLS, and as whom."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from c2c_agent.config.files import read_secret
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.net.fresh_request import FreshRequests
from c2c_agent.net.http_auth import Credentials
from c2c_agent.net.tls import Trust
from c2c_agent.pbx.switchvox.client import ExtendClient

#: The harmless method that a login may call.
_PROOF: Final[Mapping[str, str]] = {
    "admin": "switchvox.info.getList",
    "extension": "switchvox.users.getMyInfo",
}

#: Bytes of an answer; a thousand current calls have less.
LONGEST: Final = 1_048_576

_CONNECT: Final = 10.0  # seconds


def extend_client(
    config: SwitchvoxConfig, reactor: Any, *, password: str | None = None
) -> ExtendClient:
    """Who asks the Switchvox of this configuration. Raises ConfigError.

    `password`: another one than the configured.
    """
    tls = config.tls
    trust = Trust(tls.ca_file, tls.server_name, tls.sha256) if config.has_tls else None
    return ExtendClient(
        FreshRequests(
            reactor,
            host=config.host,
            port=config.port,
            trust=trust,
            connect_seconds=_CONNECT,
            longest=LONGEST,
        ),
        Credentials(
            config.username,
            read_secret(config.password_file) if password is None else password,
        ),
        proof=_PROOF[config.login],
        wanted=config.auth,
        seconds=reactor.seconds,
        new_word=lambda: secrets.token_hex(8),
    )
