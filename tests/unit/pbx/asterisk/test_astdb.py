"""What the dialplan's records say."""

from __future__ import annotations

import pytest

from c2c_agent.call.evidence import NotConfirmed, SaidBy
from c2c_agent.pbx.asterisk.astdb import DialplanRecord, FirstRecord, SecondRecord, read


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("first,BUSY,17,11.5", FirstRecord("BUSY", 17, 11.5)),
        ("first,,20,11.0", FirstRecord("", 20, 11.0)),
        ("first,CANCEL,x", FirstRecord("CANCEL", None, None)),
        ("ANSWER,16,10.0,12.0,20.0,", SecondRecord("ANSWER", 16, 10.0, 12.0, 20.0, None)),
        ("BUSY,17,10.0,,11.0,yes", SecondRecord("BUSY", 17, 10.0, None, 11.0, None)),
        (
            ",0,10.0,,20.0,unconfirmed",
            SecondRecord("", 0, 10.0, None, 20.0, NotConfirmed.SILENT),
        ),
        (",0,10.0,,20.0,declined", SecondRecord("", 0, 10.0, None, 20.0, NotConfirmed.DECLINED)),
        (
            "CHANUNAVAIL,21,10.0,,11.0,,PJSIP/100-1,PJSIP/100-1",
            SecondRecord("CHANUNAVAIL", 21, 10.0, None, 11.0, None, SaidBy.DIALPLAN),
        ),
        (
            "CHANUNAVAIL,21,10.0,,11.0,,PJSIP/100-1,PJSIP/200-2,PJSIP/100-1",
            SecondRecord("CHANUNAVAIL", 21, 10.0, None, 11.0, None, SaidBy.DEVICE),
        ),
        (
            "CHANUNAVAIL,21,10.0,,11.0,,Local/301@x-1;1,PJSIP/101-1",
            SecondRecord("CHANUNAVAIL", 21, 10.0, None, 11.0, None),
        ),
        (
            "ANSWER,16,10.0,12.0,20.0,,PJSIP/100-1,PJSIP/100-1",
            SecondRecord("ANSWER", 16, 10.0, 12.0, 20.0, None),
        ),
        ("nonsense", SecondRecord("nonsense", None, None, None, None, None)),
    ],
)
def test_a_record(text: str, record: DialplanRecord) -> None:
    """Status, cause, times, and what the first said; what is not there is None."""
    assert read(text) == record
