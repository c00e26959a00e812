"""What can go wrong, as types: one root, and the error codes of the public API.

Errors of a protocol have their own small trees beside that protocol (`ami.message`, `agi.message`)
under the same root. `ApiError` is the one that a caller sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from attrs import frozen


class C2CError(Exception):
    """Root of every error that this program raises on purpose."""


class StoreError(C2CError):
    """The store cannot be used; the message says why."""


class ErrorCode(StrEnum):
    """The `code` of an entry in a response's `errors`, as web/openapi.yml lists them."""

    INVALID_PARAMETER = "invalid_parameter"
    UNAUTHORIZED = "unauthorized"
    NOT_ALLOWED = "not_allowed"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_CALLS = "too_many_calls"
    REQUEST_ID_CONFLICT = "request_id_conflict"
    UNKNOWN_DIAL_AS = "unknown_dial_as"
    UNSUPPORTED_PBX = "unsupported_pbx"
    PBX_ERROR = "pbx_error"
    PBX_UNAVAILABLE = "pbx_unavailable"
    EXPIRED = "expired"
    INTERNAL_ERROR = "internal_error"
    NOT_FOUND = "not_found"
    TOO_MANY_STREAMS = "too_many_streams"


@frozen
class Fault:
    """One thing that is wrong with a request: words for the caller, a code for programs."""

    code: ErrorCode
    message: str


class ApiError(C2CError):
    """A request that is refused, with every fault that was found in it, in order."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.code}: {fault.message}" for fault in faults))
        self.faults = faults


class ConfigError(C2CError):
    """The configuration cannot be used; each line names file, path, and what would be right."""


@contextmanager
def of_setting(name: str) -> Iterator[None]:
    """Say of which setting a ConfigError is that is raised within."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
