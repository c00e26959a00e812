"""Which PBX a key means."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import OPERATOR, Key
from c2c_agent.policy.pbxs import PbxNames

CRM = Key("crm", "0" * 64)
SEVERAL = PbxNames(
    {"asterisk": "asterisk", "north": "asterisk", "hotel": "switchvox", "a": "other", "b": "other"}
)


@pytest.mark.parametrize(
    ("kind", "name"), [("asterisk", "asterisk"), ("switchvox", "hotel"), ("other", None)]
)
def test_of_a_key_that_names_none(kind: str, name: str | None) -> None:
    """That of the kind's own section, or the only one; of several, it may use none."""
    several = Fault(
        ErrorCode.UNSUPPORTED_PBX, f"There are several {kind} PBXs here, and this key names none."
    )
    assert SEVERAL.of(CRM, kind) == (name or several)
    assert SEVERAL.default(kind) == name


def test_of_a_kind_that_is_not_there() -> None:
    """It is named."""
    fault = Fault(ErrorCode.UNSUPPORTED_PBX, "No switchvox PBX is configured here.")
    assert PbxNames({"asterisk": "asterisk"}).of(CRM, "switchvox") == fault


def test_of_a_key_that_names_some() -> None:
    """Those alone: a kind that it does not name is not its own."""
    key = evolve(CRM, pbx={"asterisk": "north", "other": "b"})
    assert SEVERAL.of(key, "asterisk") == "north"
    assert SEVERAL.of(key, "other") == "b"
    message = "This key may place no calls through a PBX of the kind switchvox."
    assert SEVERAL.of(key, "switchvox") == Fault(ErrorCode.NOT_ALLOWED, message)


@pytest.mark.parametrize("name", ["south", "hotel"])
def test_of_a_key_whose_pbx_is_not_there(name: str) -> None:
    """It waits for a restart, or is of another kind: the call goes to no other in its place."""
    fault = Fault(ErrorCode.UNSUPPORTED_PBX, "The asterisk PBX of this key is not there.")
    assert SEVERAL.of(evolve(CRM, pbx={"asterisk": name}), "asterisk") == fault


def test_of_the_operator() -> None:
    """Its key may use every kind, and means what another key names."""
    key = evolve(CRM, name=OPERATOR, pbx={"asterisk": "north"})
    assert SEVERAL.of(key, "asterisk") == "north"
    assert SEVERAL.of(key, "switchvox") == "hotel"
