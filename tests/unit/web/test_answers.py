"""What callers are shown: the shapes of the outside contract, to the letter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from c2c_agent.call.call import Answer, Call, CallState, Entry, Exchange, HungUpBy, Received
from c2c_agent.call.evidence import Attempt, LegEvidence, SaidBy, Source
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.report.event import call_summary
from c2c_agent.web.answers import listing, no_status, not_found, response, status
from tests.playbook import a_call

ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
URL = f"http://pbx1.example.com/c2c/v2/status/{ID}"


def test_shown_are_times_of_the_host_s_clock() -> None:
    """Where that was set, stamps are moved by it; durations are what they were."""
    call = a_call(
        clock_ahead=3600.0,
        pbx_request=Exchange(1001.0, {}),
        first=LegEvidence(ringing_at=1002.0, answered_at=1004.5),
        timeline=(Entry(1000.25, "accepted"),),
    )
    shown = status(call)["c2c_status"]
    assert shown["request"]["utc.time"] == "4600"
    assert shown["pbx_request"]["utc.time"] == "4601"
    assert shown["call"]["timeline"] == [{"utc.time": "4600.250", "event": "accepted"}]
    assert shown["call"]["dial_first"]["ring_seconds"] == 2.5
    assert listing(call)["utc.time"] == "4600.000"


class TestResponse:
    """The answer to a request."""

    def test_success(self) -> None:
        """As the specification prints it."""
        assert response(
            ID, (), status_url=URL, method="asterisk.call", server_id="pbx1.example.com"
        ) == {
            "response": {"request_id": ID, "status": "success", "errors": []},
            "method": "asterisk.call",
            "server_id": "pbx1.example.com",
        }

    def test_fail(self) -> None:
        """The PBX's own words, a code for programs, and where the whole story is."""
        fault = Fault(ErrorCode.PBX_ERROR, "Extension does not exist.")
        assert response(
            ID, (fault,), status_url=URL, method="asterisk.call", server_id="pbx1.example.com"
        ) == {
            "response": {
                "request_id": ID,
                "status": "fail",
                "errors": [
                    {
                        "error": {
                            "message": "Extension does not exist.",
                            "code": "pbx_error",
                            "url": URL,
                        }
                    }
                ],
            },
            "method": "asterisk.call",
            "server_id": "pbx1.example.com",
        }

    def test_several_faults(self) -> None:
        """One entry each, in order."""
        faults = (
            Fault(ErrorCode.INVALID_PARAMETER, "dial_first is missing."),
            Fault(ErrorCode.INVALID_PARAMETER, "request_id is not a UUID."),
        )
        shown = response(ID, faults, status_url=URL, method="m", server_id="s")
        assert [entry["error"]["message"] for entry in shown["response"]["errors"]] == [
            "dial_first is missing.",
            "request_id is not a UUID.",
        ]

    def test_nothing_was_stored(self) -> None:
        """Without an id there is no status URL to show."""
        fault = Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")
        assert response(None, (fault,), status_url=None, method="m", server_id="s") == {
            "response": {
                "request_id": None,
                "status": "fail",
                "errors": [
                    {"error": {"message": "This api_key is not known.", "code": "unauthorized"}}
                ],
            },
            "method": "m",
            "server_id": "s",
        }

    def test_replayed(self) -> None:
        """A repeated request is told so, inside the response."""
        shown = response(ID, (), status_url=URL, method="m", server_id="s", replayed=True)
        assert shown["response"] == {
            "request_id": ID,
            "status": "success",
            "errors": [],
            "replayed": True,
        }


class TestNoStatus:
    """A status that cannot be shown."""

    def test_not_found(self) -> None:
        """An id that nobody knows."""
        assert not_found(ID) == {
            "c2c_status": None,
            "errors": [{"error": {"message": f"No request has the id {ID}.", "code": "not_found"}}],
        }

    def test_for_another_reason(self) -> None:
        """The same shape with another fault."""
        assert no_status(Fault(ErrorCode.UNAUTHORIZED, "api_key is missing.")) == {
            "c2c_status": None,
            "errors": [{"error": {"message": "api_key is missing.", "code": "unauthorized"}}],
        }


RECEIVED = Received(
    1435628937.9, "http://pbx1/c2c/v2", "GET", {"dial_first": "100", "api_key": "crm"}
)

TALKED = a_call(
    request_id=ID,
    received=RECEIVED,
    job=CallJob("100", "200", "101", 30),
    state=CallState.ENDED,
    outcome=Outcome.CONNECTED,
    answer=Answer(),
    pbx_request=Exchange(1435628940.0, {"Action": "Originate"}),
    pbx_response=Exchange(1435628941.2, {"Response": "Success"}),
    first=LegEvidence(
        channel="PJSIP/100-00000000",
        status="ANSWER",
        cause=16,
        cause_text="Normal Clearing",
        ringing_at=1435628941.0,
        answered_at=1435628943.1,
        ended_at=1435628960.0,
        source=Source.WATCHED,
        by=SaidBy.DEVICE,
    ),
    second=LegEvidence(
        channel="Local/200@from-phones-00000001;1",
        status="ANSWER",
        cause=16,
        cause_text="Normal Clearing",
        ringing_at=1435628943.5,
        answered_at=1435628946.93,
        ended_at=1435628959.28,
        source=Source.REPORTED,
        by=SaidBy.DIALPLAN,
        tried=(Attempt("PJSIP/200-00000001", "BUSY", 17, 486, 3.04),),
    ),
    hung_up_by=HungUpBy.SECOND,
    hung_up_at=1435628959.27,
    cause=16,
    cause_text="Normal Clearing",
    ended_at=1435628960.0,
    timeline=(
        Entry(1435628937.9, "accepted"),
        Entry(1435628941.1234, "first_ringing"),
        Entry(1435628960.0, "ended", "connected"),
    ),
)


class TestStatus:
    """The whole story of a request."""

    def test_of_a_call_in_which_they_talked(self) -> None:
        """Every part, with the contract's names and its kinds of values."""
        assert status(TALKED) == {
            "c2c_status": {
                "request": {
                    "utc.time": "1435628937",
                    "request_url": "http://pbx1/c2c/v2",
                    "http_method": "GET",
                    "request_data": {"dial_first": "100", "api_key": "crm"},
                },
                "pbx_request": {"utc.time": "1435628940", "pbx_data": {"Action": "Originate"}},
                "response": {
                    "utc.time": "1435628941",
                    "response_data": {"Response": "Success"},
                },
                "call": {
                    "state": "ended",
                    "outcome": "connected",
                    "reason": None,
                    "hung_up_by": "second",
                    "cause": 16,
                    "cause_text": "Normal Clearing",
                    "dial_first": {
                        "number": "100",
                        "status": "ANSWER",
                        "ring_seconds": 2.1,
                        "channel": "PJSIP/100-00000000",
                        "cause": 16,
                        "cause_text": "Normal Clearing",
                        "sip": None,
                        "source": "watched",
                        "by": "device",
                        "tried": [],
                    },
                    "dial_second": {
                        "number": "200",
                        "status": "ANSWER",
                        "ring_seconds": 3.4,
                        "channel": "Local/200@from-phones-00000001;1",
                        "cause": 16,
                        "cause_text": "Normal Clearing",
                        "sip": None,
                        "source": "reported",
                        "by": "dialplan",
                        "tried": [
                            {
                                "channel": "PJSIP/200-00000001",
                                "status": "BUSY",
                                "cause": 17,
                                "sip": 486,
                                "ring_seconds": 3.0,
                            }
                        ],
                    },
                    "dial_as": "101",
                    "talk_seconds": 12.3,
                    "metadata": {},
                    "timeline": [
                        {"utc.time": "1435628937.900", "event": "accepted"},
                        {"utc.time": "1435628941.123", "event": "first_ringing"},
                        {"utc.time": "1435628960.000", "event": "ended", "detail": "connected"},
                    ],
                },
            }
        }

    def test_of_a_request_that_just_came_in(self) -> None:
        """What has not happened yet is null."""
        shown = status(a_call(received=RECEIVED))["c2c_status"]
        assert shown["pbx_request"] is None
        assert shown["response"] is None
        nothing: dict[str, object] = {
            "status": None,
            "ring_seconds": None,
            "channel": None,
            "cause": None,
            "cause_text": None,
            "sip": None,
            "source": None,
            "by": None,
            "tried": [],
        }
        assert shown["call"] == {
            "state": "accepted",
            "outcome": None,
            "reason": None,
            "hung_up_by": None,
            "cause": None,
            "cause_text": None,
            "dial_first": {"number": "100", **nothing},
            "dial_second": {"number": "200", **nothing},
            "dial_as": "100",
            "talk_seconds": None,
            "metadata": {},
            "timeline": [],
        }

    def test_the_callers_own_words(self) -> None:
        """They are shown as they were given."""
        job = CallJob("100", "200", "100", 30, metadata={"ticket": "4711", "note": " <b>&\n"})
        shown = status(a_call(job=job, received=RECEIVED))["c2c_status"]
        assert shown["call"]["metadata"] == {"ticket": "4711", "note": " <b>&\n"}

    def test_of_a_request_that_was_no_job(self) -> None:
        """Where nobody could be dialled there are no numbers; what came in is shown."""
        shown = status(a_call(job=None, received=RECEIVED))["c2c_status"]
        assert shown["request"]["request_data"] == {"dial_first": "100", "api_key": "crm"}
        assert shown["call"]["dial_first"]["number"] is None
        assert shown["call"]["dial_second"]["number"] is None
        assert shown["call"]["dial_as"] is None

    def test_numbers_as_they_were_dialled(self) -> None:
        """Beside those that were asked for, and only where they differ."""
        job = CallJob("100", "+4930123456", "100", 30, dialed_second="0030123456")
        shown = call_summary(a_call(job=job))
        assert shown["dial_second"]["number"] == "+4930123456"
        assert shown["dialed_second"] == "0030123456"
        assert "dialed_first" not in shown
        told = response(
            "1", (), status_url=None, method="asterisk.call", server_id="pbx1", job=job
        )["response"]
        assert (told["dialed_second"], "dialed_first" in told) == ("0030123456", False)

    @pytest.mark.parametrize("by", HungUpBy)
    def test_who_hung_up(self, by: HungUpBy) -> None:
        """One of first, second, cancel, limit."""
        assert call_summary(a_call(hung_up_by=by))["hung_up_by"] == str(by)

    def test_is_json(self) -> None:
        """Everything in it can be sent."""
        assert json.loads(json.dumps(status(TALKED))) == status(TALKED)


def first_leg(**evidence: Any) -> dict[str, Any]:
    """What is shown of a first leg with this evidence."""
    shown: dict[str, Any] = call_summary(a_call(first=LegEvidence(**evidence)))["dial_first"]
    return shown


class TestLegs:
    """What is shown of one leg."""

    @pytest.mark.parametrize(
        ("ringing", "answered", "ended", "seconds"),
        [
            (None, None, None, None),
            (10.0, None, None, None),
            (None, 12.0, 20.0, None),
            (None, None, 20.0, None),
            (10.0, 12.34, None, 2.3),
            (10.0, 12.36, 20.0, 2.4),
            (10.0, None, 40.0, 30.0),
            (10.0, 10.0, 11.0, 0.0),
            (10.0, 9.9, 11.0, 0.0),
        ],
    )
    def test_ring_seconds(
        self,
        ringing: float | None,
        answered: float | None,
        ended: float | None,
        seconds: float | None,
    ) -> None:
        """From ringing to the answer, or to the end; null where it did not ring or still does."""
        shown = first_leg(ringing_at=ringing, answered_at=answered, ended_at=ended)
        assert shown["ring_seconds"] == seconds

    def test_status_is_the_pbx_s(self) -> None:
        """As long as nobody answered."""
        assert first_leg(status="BUSY", cause=17, sip=486)["status"] == "BUSY"

    @pytest.mark.parametrize("said", [None, "CANCEL", "ANSWER"])
    def test_who_answered_answered(self, said: str | None) -> None:
        """Whatever the PBX says of it later, or does not say."""
        assert first_leg(status=said, answered_at=5.0)["status"] == "ANSWER"


def talked(**changes: Any) -> Call:
    """A connected call whose second leg answered at 100 s."""
    second = LegEvidence(answered_at=100.0, ended_at=changes.pop("ended_at", None))
    return a_call(**{"outcome": Outcome.CONNECTED, "second": second, **changes})


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        (talked(hung_up_at=112.34), 12.3),
        (talked(hung_up_at=112.34, ended_at=113.0), 12.3),
        (talked(ended_at=113.0), 13.0),
        (talked(hung_up_at=99.0), 0.0),
        (talked(), None),
        (talked(outcome=None, hung_up_at=112.0), None),
        (talked(outcome=Outcome.ABANDONED, hung_up_at=112.0), None),
        (talked(second=LegEvidence(ended_at=112.0)), None),
    ],
)
def test_talk_seconds(call: Call, seconds: float | None) -> None:
    """From the second's answer to the hangup; null where they did not talk, or nobody knows."""
    assert call_summary(call)["talk_seconds"] == seconds


def test_listing() -> None:
    """A call in a list: its id, its time, its key, and the same summary as in its status."""
    assert listing(TALKED) == {
        "request_id": ID,
        "utc.time": "1435628937.900",
        "key": "crm",
        "call": status(TALKED)["c2c_status"]["call"],
    }
