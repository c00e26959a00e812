"""What the pure parts cost, in a measure that does not swing with the machine.

Counted are the instructions of Python's virtual machine, in our code and in the libraries below it,
for fixed pieces of work; C code counts as the one instruction that calls it. `test_costs` compares
them with `costs.json`. Only Python 3.11 tells of each of them.

    python -m tests.bench.costs          shows them
    python -m tests.bench.costs --renew  makes what they are now the baseline of this Python
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from c2c_agent.agi.message import get_full_variable, set_variable
from c2c_agent.agi.session import Session
from c2c_agent.ami.actions import Action
from c2c_agent.ami.message import Receiver, encode
from c2c_agent.call.call import Call, OriginatePlan
from c2c_agent.call.events import (
    Event,
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    Place,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.call.job import JobRules, parse_job
from c2c_agent.call.machine import step
from c2c_agent.call.record import dump, load
from c2c_agent.config.pbx import AsteriskConfig, SecondLegRule
from c2c_agent.pbx.asterisk.call_trace import CallTrace, tells_of_legs
from c2c_agent.pbx.asterisk.channel_id import request_id_of, root_id
from c2c_agent.pbx.asterisk.originate import make_plan
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Lease, Meter
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.web.answers import status
from c2c_agent.web.request import read_parameters
from tests.playbook import JOB, REQUEST_ID, a_call

_HERE: Final = Path(__file__).parent
BASELINES: Final = _HERE / "costs.json"
_TRANSCRIPT: Final = "call-asterisk-22.10-connected-second-hangs-up.txt"


def version() -> str:
    """The minor version of this Python: `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def baselines() -> dict[str, dict[str, int]]:
    """The instructions of each piece of work, by Python's version."""
    kept: dict[str, dict[str, int]] = json.loads(BASELINES.read_text(encoding="utf-8"))
    return kept


def instructions(work: Callable[[], object]) -> int:
    """How many instructions Python runs for a piece of work that was done once before."""
    work()  # whatever is compiled or cached at first use is there now
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    others = sys.gettrace()
    gc.disable()  # what others have it call, as Hypothesis does, is none of the work
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(others)
        gc.enable()
    return count


def costs() -> dict[str, int]:
    """The instructions of each piece of work, now."""
    return {name: instructions(work) for name, work in _works().items()}


def _works() -> Mapping[str, Callable[[], object]]:
    lines = (_HERE.parent / "transcripts" / _TRANSCRIPT).read_bytes().splitlines(keepends=True)
    stream = b"".join(line for line in lines if not line.startswith(b"#")).replace(
        b"c2c-REQUEST-ID", root_id(REQUEST_ID).encode()
    )
    key = Key("crm", "0" * 64, allow=[parse_pattern("_1XX"), parse_pattern("_[2-9]XX")])
    query = b"dial_first=100&dial_second=200&dial_as=100&timeout=20&api_key=c2c_secret"
    plan = _plan()
    call = _whole_call(plan)
    text = dump(call)
    assert isinstance(plan.order, Action)
    return {
        "AMI: read a call's events": partial(_read_events, stream),
        "AMI: follow a call's events": partial(_follow, stream),
        "AMI: make and encode an Originate": _plan,
        "AMI: encode an Originate": partial(encode, plan.order.as_pairs("c2c-1")),
        "FastAGI: a session": _session,
        "a call's way through the machine": partial(_whole_call, plan),
        "a record: dump": partial(dump, call),
        "a record: load": partial(load, text),
        "a status": partial(status, call),
        "HTTP: parameters": partial(read_parameters, query, "", b""),
        "a job: parse, policy, limits": partial(_admit, key),
    }


def _read_events(stream: bytes) -> int:
    return len(Receiver().receive(stream.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))


def _follow(stream: bytes) -> CallTrace:
    trace = CallTrace(root_id(REQUEST_ID), 20)
    for number, message in enumerate(Receiver().receive(stream)):
        if message.is_event and tells_of_legs(message):
            assert request_id_of(message) == REQUEST_ID
            trace.observe(message, float(number))
    assert trace.all_gone
    trace.evidence()
    return trace


def _plan() -> OriginatePlan:
    rule = SecondLegRule(parse_pattern("_X."), "Local/{number}@{context}/n")
    config = AsteriskConfig(first_leg=[rule], second_leg=[rule])
    return make_plan(
        config, REQUEST_ID, JOB, "sales", agi_url="agi://127.0.0.1:8475/c2c", max_duration=3600
    )


def _session() -> Session:
    session = Session()
    names = ("request", "channel", "language", "type", "uniqueid", "version", "callerid", "context")
    environment = "".join(f"agi_{name}: some value\n" for name in names)
    session.receive(environment.encode() + b"\n")
    session.command("EXEC", "Dial", "Local/200@sales/n,20,g")
    session.receive(b"200 result=0\n")
    session.command(get_full_variable("${DIALSTATUS},${HANGUPCAUSE}"))
    session.receive(b"200 result=1 (ANSWER,16)\n")
    session.command(set_variable("C2C_DONE", "1"))
    session.receive(b"200 result=1\n")
    return session


def _whole_call(plan: OriginatePlan) -> Call:
    leg = LegEvidence(channel="Local/100@sales-1;1", status="ANSWER", cause=16, answered_at=1003.0)
    events: tuple[Event, ...] = (
        Place(plan),
        OriginateAccepted({"Response": "Success", "Message": "Originate successfully queued"}),
        FirstRinging("Local/100@sales-1;1"),
        FirstAnswered("Local/100@sales-1;1"),
        SecondDialed(20),
        SecondRinging("Local/200@sales-1;1"),
        SecondAnswered("Local/200@sales-1;1"),
        Gone(CallEvidence(first=leg, second=leg, dialed=True, hung_up_at=1010.0)),
    )
    call = a_call()
    for number, event in enumerate(events):
        call = step(call, event, 1000.0 + number).call
    return call


def _admit(key: Key) -> None:
    job = parse_job(
        {"dial_first": "100", "dial_second": "+49 (30) 200", "dial_as": "100"}, JobRules()
    )
    assert len(key.faults(job)) == 1
    assert isinstance(Meter(10).admit(key, job, 3600, 1000.0), Lease)


def main() -> None:
    """Show the costs, or make them the baseline."""
    now = costs()
    if "--renew" in sys.argv[1:]:
        kept = {**(baselines() if BASELINES.exists() else {}), version(): now}
        BASELINES.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for name, count in now.items():
        print(f"{count:8}  {name}")  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main()
