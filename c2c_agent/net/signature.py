"""How a webhook's receiver knows its sender: the signature of Standard Webhooks 1.0.0.

Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from c2c_agent.errors import ConfigError

_PREFIX: Final = "whsec_"

#: Bytes of a key, by the Standard Webhooks specification 1.0.0.
_SHORTEST: Final = 24
_LONGEST: Final = 64


def parse_secrets(text: str, file: str) -> tuple[bytes, ...]:
    """The keys in a file's text, one `whsec_…` in a line; raises ConfigError."""
    keys = []
    for line in text.split():
        try:
            key = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not line.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
            right = f"{_PREFIX} and {_SHORTEST} to {_LONGEST} bytes as base64"
            raise ConfigError(f"{file}: each line should be {right}")
        keys.append(key)
    if not keys:
        raise ConfigError(f"{file}: this file must hold a line with a secret, {_PREFIX}…")
    return tuple(keys)


def signed_headers(
    event_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]
) -> dict[str, str]:
    """The three headers by which a receiver knows that a request is ours, and fresh."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(digest).decode()}" for digest in digests
        ),
    }
