"""The ids that channels are made with, and whose call a channel or an event is of. Pure.

A call's first channel, its root, has the id `c2c-` and the 26 characters of base32 (RFC 4648,
section 6; lower case, no padding) that the request's UUID makes. It is the Uniqueid of the root,
with `;2` behind it that of the other half of a Local channel, and the Linkedid of all channels of
the call. With `;2` it has 32 characters, which is as many as a FreePBX's table of CDRs has room
for.

An id is ours only as a whole. Those that Asterisk makes by itself begin with its `systemname`
(`ast_channel_internal_alloc` in main/channel_internal_api.c), which may begin as ours do.
"""

from __future__ import annotations

import re
import secrets
from base64 import b32decode, b32encode
from functools import lru_cache
from typing import Final
from uuid import UUID

from c2c_agent.ami.message import Message

#: What every id begins with.
PREFIX: Final = "c2c-"

#: Of the 130 bits of 26 characters a UUID has 128; the last two are 0.
_OF_UUID: Final = re.compile(r"c2c-([a-z2-7]{25}[aeimquy4])")

#: Version 0.1 wrote the UUID itself. Calls that it has placed may go on over an upgrade.
_OF_0_1: Final = re.compile(r"c2c-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

#: A test call's: the last two bits are 1, so that it is no request's.
_OF_CHECK: Final = re.compile(r"c2c-check[a-z2-7]{20}7")

#: Where an event that tells of two channels may have the Linkedid of ours.
_LINKED: Final = (
    "Linkedid",
    "DestLinkedid",
    "LocalOneLinkedid",
    "TransfererLinkedid",
    "OrigTransfererLinkedid",
    "SecondTransfererLinkedid",
    "TargetLinkedid",
)


def root_id(request_id: str) -> str:
    """The id of the first channel of a request's call; `request_id` is a UUID."""
    return PREFIX + _base32(bytes.fromhex(request_id.replace("-", "")))


def request_of(channel_id: str) -> str | None:
    """The request whose call a channel of this id is the root of, or its other half.

    None where the id is none of ours, or a test call's.
    """
    return _request_of(channel_id.partition(";")[0]) if channel_id.startswith(PREFIX) else None


@lru_cache(maxsize=1024)  # each event of a call is asked for its own
def _request_of(root: str) -> str | None:
    if (match := _OF_UUID.fullmatch(root)) is not None:
        return str(UUID(bytes=b32decode(match[1].upper() + "======")))
    match = _OF_0_1.fullmatch(root)
    return None if match is None else match[1]


def request_id_of(event: Message) -> str | None:
    """The request whose call an event belongs to; None where it is no call of ours."""
    # First by the channel's own id: in one bridge with another call (after a transfer), it may have
    # that call's Linkedid, which may be one of ours as well.
    ids = map(event.get, ("Uniqueid", *_LINKED))
    return next(filter(None, map(request_of, ids)), None)


def check_id() -> str:
    """An id for a test call, which rings nobody."""
    return f"{PREFIX}check{_base32(secrets.token_bytes(15))[:20]}7"


def is_of_check(channel_id: str) -> bool:
    """Whether it is that of a test call."""
    return _OF_CHECK.fullmatch(channel_id) is not None


def _base32(raw: bytes) -> str:
    return b32encode(raw).decode().rstrip("=").lower()
