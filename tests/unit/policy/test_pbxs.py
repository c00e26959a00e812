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


#: What jobs may name: a PBX of which the key means another, and one that is not there.
FOR_JOBS = PbxNames(
    {"north": "asterisk", "south": "asterisk", "west": "asterisk", "hotel": "switchvox"},
    for_jobs=["south", "gone"],
)


@pytest.mark.parametrize("name", ["north", "south"])
def test_of_a_job(name: str) -> None:
    """It may name the PBX that the key means, and those that are opened to jobs."""
    assert FOR_JOBS.of_job(evolve(CRM, pbx={"asterisk": "north"}), "asterisk", name) == name


def test_of_a_job_whose_key_names_none() -> None:
    """Then those alone that are opened to jobs, and the only one of its kind."""
    assert FOR_JOBS.of_job(CRM, "asterisk", "south") == "south"
    assert FOR_JOBS.of_job(CRM, "switchvox", "hotel") == "hotel"
    fault = Fault(ErrorCode.NOT_ALLOWED, "No job may be placed on the asterisk PBX north.")
    assert FOR_JOBS.of_job(CRM, "asterisk", "north") == fault


def test_of_a_job_that_names_what_is_not_opened() -> None:
    """That the agent has it opens it to nobody."""
    key = evolve(CRM, pbx={"asterisk": "north"})
    fault = Fault(ErrorCode.NOT_ALLOWED, "No job may be placed on the asterisk PBX west.")
    assert FOR_JOBS.of_job(key, "asterisk", "west") == fault


@pytest.mark.parametrize("name", ["gone", "hotel", "nowhere"])
def test_of_a_job_whose_pbx_is_not_there(name: str) -> None:
    """Or is of another kind: the call goes to no other in its place."""
    key = evolve(CRM, pbx={"asterisk": "north"})
    fault = Fault(ErrorCode.UNSUPPORTED_PBX, f"The asterisk PBX {name} of this job is not there.")
    assert FOR_JOBS.of_job(key, "asterisk", name) == fault


def test_of_a_job_of_another_kind() -> None:
    """A kind that the key does not name stays refused, whatever is opened to jobs."""
    key = evolve(CRM, pbx={"switchvox": "hotel"})
    message = "This key may place no calls through a PBX of the kind asterisk."
    assert FOR_JOBS.of_job(key, "asterisk", "south") == Fault(ErrorCode.NOT_ALLOWED, message)


#: A relay with a PBX of its own beside it.
RELAY = PbxNames(
    {"asterisk": "asterisk", "other": "other", "dialer": "other", "switchvox": "switchvox"},
    relayed=["asterisk", "other"],
)


@pytest.mark.parametrize(
    ("kind", "named", "here", "at_agent"),
    [
        ("asterisk", "south", "asterisk", "south"),
        ("asterisk", "asterisk", "asterisk", None),  # whichever the agent's key means
        ("other", "dialer", "dialer", None),  # beside the relay
        ("other", "hook", "other", "hook"),
    ],
)
def test_at_a_relay(kind: str, named: str, here: str, at_agent: str | None) -> None:
    """What is not beside it, is at an agent; which PBXs that has, is not known here."""
    key = evolve(CRM, pbx={kind: named})
    assert (RELAY.of(key, kind), RELAY.at_agent(key, kind)) == (here, at_agent)


def test_at_a_relay_of_a_kind_that_is_not_relayed() -> None:
    """There it is as beside any PBX."""
    key = evolve(CRM, pbx={"switchvox": "hotel"})
    fault = Fault(ErrorCode.UNSUPPORTED_PBX, "The switchvox PBX of this key is not there.")
    assert (RELAY.of(key, "switchvox"), RELAY.at_agent(key, "switchvox")) == (fault, None)


def test_at_a_relay_of_a_key_that_names_none() -> None:
    """The agent's own key says which it is."""
    assert (RELAY.of(CRM, "asterisk"), RELAY.at_agent(CRM, "asterisk")) == ("asterisk", None)
