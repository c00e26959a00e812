"""What a call is called on the PBX, worked out apart from the agent."""

from __future__ import annotations

from base64 import b32encode
from uuid import UUID


def linkedid_of(request_id: str) -> str:
    """Return the Linkedid of a request's call: `c2c-` and its UUID in base32."""
    return "c2c-" + b32encode(UUID(request_id).bytes).decode().rstrip("=").lower()
