"""Errors: what a caller is told, word for word and code for code."""

from __future__ import annotations

from c2c_agent.errors import ApiError, C2CError, ErrorCode, Fault


def test_codes_are_those_of_the_contract() -> None:
    """Programs read the codes; none may change its spelling or go."""
    assert {str(code) for code in ErrorCode} == {
        "invalid_parameter",
        "unauthorized",
        "not_allowed",
        "rate_limited",
        "too_many_calls",
        "request_id_conflict",
        "unknown_dial_as",
        "unsupported_pbx",
        "pbx_error",
        "pbx_unavailable",
        "expired",
        "internal_error",
        "not_found",
        "too_many_streams",
    }


def test_an_api_error_keeps_its_faults_in_order() -> None:
    """Every fault is told, in the order in which it was found; the text is for the log."""
    first = Fault(ErrorCode.INVALID_PARAMETER, "timeout is not a whole number of seconds.")
    second = Fault(ErrorCode.NOT_ALLOWED, "This key may not dial this dial_first.")
    error = ApiError(first, second)
    assert error.faults == (first, second)
    assert str(error) == (
        "invalid_parameter: timeout is not a whole number of seconds.; "
        "not_allowed: This key may not dial this dial_first."
    )
    assert isinstance(error, C2CError)
