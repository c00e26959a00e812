"""The names of all outcomes. Which one a call has, `verdict` says. Pure."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended; exactly one (docs/outcomes.md)."""

    CONNECTED = "connected"
    FIRST_BUSY = "first_busy"
    FIRST_NO_ANSWER = "first_no_answer"
    FIRST_DECLINED = "first_declined"
    FIRST_UNREACHABLE = "first_unreachable"
    SECOND_BUSY = "second_busy"
    SECOND_NO_ANSWER = "second_no_answer"
    SECOND_DECLINED = "second_declined"
    SECOND_UNREACHABLE = "second_unreachable"
    ABANDONED = "abandoned"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    PBX_ERROR = "pbx_error"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class UnknownReason(StrEnum):
    """Why nobody knows what became of a call."""

    LOST = "lost"  # something was missed: the link, or the agent, was away
    NOT_TOLD = "not_told_by_pbx"  # a PBX of this kind does not tell
