"""Jobs: what callers send becomes a plain call, or every fault of it is told."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c2c_agent.call.job import CallJob, Confirm, JobRules, is_request_id, parse_job
from c2c_agent.errors import ApiError, ErrorCode, Fault

RULES = JobRules(timeout=30, max_timeout=120, names=frozenset({"front-desk", "alice", "*97"}))
#: A whole number of more digits than Python turns into text.
HUGE = pytest.param(10**5000, id="huge")
HUGE_NUMBER = pytest.param(10**5000, "it is no text", id="huge")
UUID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
NO_NUMBER = "{} is not a number that can be dialled: {}."


def parsed(**parameters: object) -> CallJob:
    """The job of these parameters, with two numbers that are well."""
    return parse_job({"dial_first": "100", "dial_second": "200", **parameters}, RULES)


def faults(parameters: dict[str, Any]) -> list[str]:
    """What is told of parameters that are refused."""
    with pytest.raises(ApiError) as caught:
        parse_job(parameters, RULES)
    assert {fault.code for fault in caught.value.faults} == {ErrorCode.INVALID_PARAMETER}
    return [fault.message for fault in caught.value.faults]


def fault(**parameters: object) -> str:
    """The one thing that is wrong with these, beside two numbers that are well."""
    (message,) = faults({"dial_first": "100", "dial_second": "200", **parameters})
    return message


class TestMetadata:
    """The caller's own words."""

    def test_as_an_object_and_one_by_one(self) -> None:
        """Both ways to say it mean the same."""
        words = {"ticket": "4711", "note_2": "any text; \u202e, too"}
        assert parsed(metadata=words).metadata == words
        one_by_one = {f"metadata.{name}": text for name, text in words.items()}
        assert parsed(**one_by_one).metadata == words
        assert parsed(
            **{"metadata": {"a": "1"}, "metadata.a": "1", "metadata.b": "2"}
        ).metadata == {
            "a": "1",
            "b": "2",
        }
        assert parsed(metadata="").metadata == parsed().metadata == {}

    def test_as_much_as_may_be(self) -> None:
        """16 texts of 256 characters, with names of 32."""
        words = {f"{number:_>32}": "x" * 256 for number in range(16)}
        assert parsed(metadata=words).metadata == words
        assert fault(metadata={**words, "one": "more"}) == "metadata has more than 16 entries."

    @pytest.mark.parametrize("name", ["Ticket", "a-b", "", "x" * 33, "a.b", "\u00e4", "a\n"])
    def test_names(self, name: str) -> None:
        """Nothing that a receiver would have to quote."""
        told = "metadata: a name is 1 to 32 of a-z, 0-9 and _."
        assert fault(metadata={name: "x"}) == told
        assert fault(**{f"metadata.{name}": "x"}) == told

    @pytest.mark.parametrize("value", [1, None, True, ["x"], {"x": "y"}, "x" * 257])
    def test_values(self, value: object) -> None:
        """Texts, and no long ones."""
        told = "metadata: a value is a text of at most 256 characters."
        assert fault(metadata={"a": value}) == told

    @pytest.mark.parametrize("value", ["ticket=1", ["a"], 1])
    def test_no_object(self, value: object) -> None:
        """The message says how it is written in a query."""
        assert fault(metadata=value) == (
            "metadata is not an object; in a query, write metadata.<name>=<text>."
        )

    def test_given_twice(self) -> None:
        """With two meanings it is refused."""
        told = fault(**{"metadata": {"a": "1"}, "metadata.a": "2"})
        assert told == "metadata.a is given twice."


class TestDefaults:
    """What a request may leave out."""

    RULES: ClassVar = JobRules(default_first="100", default_as="150")

    def test_first_and_identity(self) -> None:
        """They are the rules', where the request has none; an empty one is none."""
        for given_first in ({}, {"dial_first": ""}):
            job = parse_job({"dial_second": "200", **given_first}, self.RULES)
            assert (job.dial_first, job.dial_as) == ("100", "150")

    def test_what_is_given_counts(self) -> None:
        """Whatever the rules say."""
        asked = {"dial_first": "101", "dial_second": "200", "dail_as": "151"}
        job = parse_job(asked, self.RULES)
        assert (job.dial_first, job.dial_as) == ("101", "151")

    def test_the_second_has_none(self) -> None:
        """Nobody is rung second by default."""
        with pytest.raises(ApiError, match="dial_second is missing"):
            parse_job({}, self.RULES)


class TestWhole:
    """All parameters together."""

    def test_defaults(self) -> None:
        """Two numbers are enough; the call is made as the first, on Asterisk."""
        assert parse_job({"dial_first": "100", "dial_second": "200"}, RULES) == CallJob(
            dial_first="100",
            dial_second="200",
            dial_as="100",
            timeout=30,
            pbx="asterisk",
            request_id=None,
            expires=None,
        )

    def test_default_rules(self) -> None:
        """Those that the configuration has by default."""
        numbers = {"dial_first": "100", "dial_second": "200"}
        assert parse_job(numbers, JobRules()) == CallJob("100", "200", "100", 30)
        assert parse_job({**numbers, "timeout": 120}, JobRules()).timeout == 120
        with pytest.raises(ApiError, match="timeout must be from 1 to 120 seconds"):
            parse_job({**numbers, "timeout": 121}, JobRules())

    def test_everything_given(self) -> None:
        """Each parameter arrives in its place."""
        job = parse_job(
            {
                "dial_first": "100",
                "dial_second": "+49 30 1234",
                "dial_as": "101",
                "timeout": "45",
                "pbx": "switchvox",
                "request_id": UUID.upper(),
                "expires": "1435628937.5",
            },
            RULES,
        )
        assert job == CallJob("100", "+49301234", "101", 45, "switchvox", UUID, 1435628937.5)

    def test_every_fault_is_told_in_order(self) -> None:
        """One answer names all that is wrong, not only the first."""
        assert faults(
            {
                "dial_second": "2&3",
                "dial_as": "100",
                "dail_as": "101",
                "timeout": "soon",
                "pbx": "freeswitch",
                "request_id": "1",
                "expires": "tomorrow",
            }
        ) == [
            "dial_first is missing.",
            NO_NUMBER.format("dial_second", "it has '&' in it"),
            "dial_as and dail_as are both given and differ.",
            "timeout is not a whole number of seconds.",
            "pbx must be one of asterisk, switchvox, other.",
            "request_id is not a UUID.",
            "expires is not a time in epoch seconds.",
        ]

    def test_empty_and_null_count_as_not_given(self) -> None:
        """A form sends its empty fields, too, and JSON has null."""
        names = ["dial_as", "dail_as", "timeout", "pbx", "request_id", "expires"]
        for nothing in ("", None):
            assert parsed(**dict.fromkeys(names, nothing)) == parsed()
            assert faults({"dial_first": nothing, "dial_second": nothing}) == [
                "dial_first is missing.",
                "dial_second is missing.",
            ]

    def test_what_nobody_asked_for_is_left_alone(self) -> None:
        """Further parameters, such as the key, are not this module's business."""
        assert parsed(api_key="secret", _=123) == parsed()


class TestNumbers:
    """What can be dialled; all ways to write it stand in `written_numbers`."""

    @pytest.mark.parametrize(
        ("given", "plain"),
        [
            ("+49 (30) 12-34/5.6", "+4930123456"),
            ("tel:///+1-212-555-1234", "+12125551234"),
            (100, "100"),
            ("*97", "*97"),
            ("alice", "alice"),
            ("front-desk", "front-desk"),
        ],
    )
    def test_plain_form(self, given: object, plain: str) -> None:
        """Decoration and `tel:` are dropped, JSON's whole numbers are numbers, names stay."""
        for name in ("dial_first", "dial_second", "dial_as"):
            assert getattr(parsed(**{name: given}), name) == plain

    @pytest.mark.parametrize(
        ("given", "found"),
        [
            ("100 x12", "it has 'x12' behind it, and a number alone can be dialled"),
            ("100,1", "it has a pause in it (',')"),
            ("bob", "it has letters in it ('bob')"),
            ("alice ", "it has letters in it ('alice')"),
            ("sip:100", "it begins with 'sip:'"),
            ("100\r\nVariable: A=B", "it has U+000D in it"),
            (1.0, "it is no text"),
            (["100"], "it is no text"),
            HUGE_NUMBER,
        ],
    )
    def test_refused(self, given: object, found: str) -> None:
        """With the parameter's name and what was found in it, and never repaired."""
        for name in ("dial_first", "dial_second", "dial_as"):
            assert fault(**{name: given}) == NO_NUMBER.format(name, found)

    def test_names_only_where_allowed(self) -> None:
        """An extension with letters is one that the configuration names; without rules none is."""
        with pytest.raises(ApiError, match="dial_first is not a number"):
            parse_job({"dial_first": "alice", "dial_second": "200"}, JobRules())


class TestDialAs:
    """Whose permission and identity the call is made with, in either spelling."""

    def test_the_specification_s_misspelling(self) -> None:
        """`dail_as` is taken for `dial_as`, alone or beside an empty one."""
        assert parsed(dail_as="1-01").dial_as == "101"
        assert parsed(dail_as="101", dial_as="").dial_as == "101"

    def test_both_equal(self) -> None:
        """Said twice is said once."""
        assert parsed(dial_as="101", dail_as="101").dial_as == "101"

    def test_both_and_different(self) -> None:
        """Nobody guesses which was meant."""
        message = "dial_as and dail_as are both given and differ."
        assert fault(dial_as="101", dail_as="102") == message

    def test_a_fault_bears_the_name_that_was_sent(self) -> None:
        """Who wrote `dail_as` finds it in the message."""
        found = "it has letters in it ('a')"
        assert fault(dail_as="a b") == NO_NUMBER.format("dail_as", found)

    def test_defaults_to_the_plain_first_number(self) -> None:
        """The identity is the number as it is dialled, not as it was typed."""
        assert parsed(dial_first="(1) 00").dial_as == "100"


class TestTimeout:
    """Seconds of ringing."""

    @pytest.mark.parametrize("given", [1, "1", 120, "120", "045"])
    def test_within_the_limits(self, given: object) -> None:
        """Both limits are allowed, as text or as number."""
        assert parsed(timeout=given).timeout == int(str(given))

    @pytest.mark.parametrize("given", [0, "0", 121, "121", "999999999", -1, HUGE])
    def test_out_of_range(self, given: object) -> None:
        """The message names what is possible."""
        assert fault(timeout=given) == "timeout must be from 1 to 120 seconds."

    @pytest.mark.parametrize(
        "given", ["1.5", 1.5, 30.0, "-1", "+5", " 5", "5 ", "1" * 10, "\u0663", "x", True, [30], {}]
    )
    def test_no_whole_number(self, given: object) -> None:
        """Only digits, or a whole number of JSON."""
        assert fault(timeout=given) == "timeout is not a whole number of seconds."


class TestPbx:
    """Which PBX."""

    @pytest.mark.parametrize("kind", ["asterisk", "switchvox", "other"])
    def test_known(self, kind: str) -> None:
        """The specification's three."""
        assert parsed(pbx=kind).pbx == kind

    @pytest.mark.parametrize("kind", ["Asterisk", "freeswitch", 1, ["asterisk"]])
    def test_unknown(self, kind: object) -> None:
        """Another is refused with the list of those that are known."""
        assert fault(pbx=kind) == "pbx must be one of asterisk, switchvox, other."


class TestRequestId:
    """The caller's own id."""

    def test_one_form_of_it(self) -> None:
        """The same UUID is the same request, in whatever case it was written."""
        assert parsed(request_id=UUID.upper()).request_id == UUID

    @pytest.mark.parametrize(
        "given",
        [
            UUID[:-1],
            UUID + "0",
            UUID + "\n",
            UUID.replace("-", ""),
            "{" + UUID + "}",
            "urn:uuid:" + UUID,
            UUID.replace("a", "g"),
            1,
            [UUID],
        ],
    )
    def test_no_uuid(self, given: object) -> None:
        """Only the form with dashes, and nothing around it."""
        assert not is_request_id(given)
        assert fault(request_id=given) == "request_id is not a UUID."


class TestExpires:
    """When a job is too late."""

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (0, 0.0),
            ("0", 0.0),
            (1435628937, 1435628937.0),
            (1435628937.25, 1435628937.25),
            ("1435628937.123456", 1435628937.123456),
            (10_000_000_000, 1e10),
        ],
    )
    def test_epoch_seconds(self, given: object, expected: float) -> None:
        """As text or number, with a fraction or without."""
        assert parsed(expires=given).expires == expected

    @pytest.mark.parametrize(
        "given", [-1, 10_000_000_001, "99999999999", float("nan"), float("inf"), HUGE]
    )
    def test_out_of_range(self, given: object) -> None:
        """No time that anybody can mean; milliseconds are noticed, too."""
        assert fault(expires=given) == "expires is out of range."

    @pytest.mark.parametrize(
        "given", ["now", "-1", "1e9", "1.", "nan", "2026-11-23", "1435628937123", True, [1]]
    )
    def test_no_time(self, given: object) -> None:
        """Nothing but digits and a point."""
        assert fault(expires=given) == "expires is not a time in epoch seconds."

    def test_too_late(self) -> None:
        """Later than it says, not at that very moment; never where it says nothing."""
        job = parsed(expires=1435628937)
        assert [job.has_expired(at) for at in (0.0, 1435628937.0, 1435628937.1)] == [
            False,
            False,
            True,
        ]
        assert not parsed().has_expired(1e12)


# Whatever is sent

NAMES = st.frozensets(st.from_regex(r"\A[A-Za-z0-9_*#-]{1,32}\Z"), max_size=3)
NUMBER = re.compile(r"\+?[0-9*#]{1,32}")
DANGEROUS = frozenset("\r\n\0&,/@(\"'$[;|%<>= ")
NASTY = st.text(st.sampled_from("0123456789*#+ .-/()&,@\"'$[];\r\n\0telaZ\u0663\u2028\ud800"))
VALUES = st.one_of(
    st.text(),
    NASTY,
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.text(max_size=3), max_size=2),
)
PARAMETERS = (
    "dial_first",
    "dial_second",
    "dial_as",
    "dail_as",
    "timeout",
    "pbx",
    "request_id",
    "expires",
)


class TestAutoAnswer:
    """`auto_answer`: whether the first phone is to answer by itself."""

    MAY = JobRules(auto_answer="call-info")
    ALWAYS = JobRules(auto_answer="call-info", auto_answer_always=True)
    CALL: ClassVar[dict[str, object]] = {"dial_first": "100", "dial_second": "200"}

    @pytest.mark.parametrize("value", [True, "true", "1"])
    def test_asked_for(self, value: object) -> None:
        """The key's profile, never one of the request's."""
        assert parse_job({**self.CALL, "auto_answer": value}, self.MAY).auto_answer == "call-info"

    @pytest.mark.parametrize("value", [False, "false", "0"])
    def test_not_wanted(self, value: object) -> None:
        """Who says no is not overruled."""
        for rules in (self.MAY, self.ALWAYS, JobRules()):
            job = parse_job({**self.CALL, "auto_answer": value}, rules)
            assert (job.auto_answer, job.no_auto_answer) == (None, True)

    def test_nothing_said(self) -> None:
        """Then it is as the key has it."""
        for said in ({}, {"auto_answer": ""}):
            assert parse_job({**self.CALL, **said}, self.MAY).auto_answer is None
            assert parse_job({**self.CALL, **said}, self.ALWAYS).auto_answer == "call-info"
            assert not parse_job({**self.CALL, **said}, self.MAY).no_auto_answer

    def test_not_allowed(self) -> None:
        """A key without a profile opens nobody's microphone."""
        with pytest.raises(ApiError) as raised:
            parse_job({**self.CALL, "auto_answer": "true"}, JobRules())
        assert raised.value.faults == (
            Fault(ErrorCode.NOT_ALLOWED, "This key may not let phones answer by themselves."),
        )

    @pytest.mark.parametrize("value", ["call-info", "yes please", 7, [True], {}])
    def test_nonsense(self, value: object) -> None:
        """Neither yes nor no; a profile's name is nothing that a request says."""
        with pytest.raises(ApiError, match="auto_answer is neither true nor false"):
            parse_job({**self.CALL, "auto_answer": value}, self.MAY)


class TestConfirm:
    """`confirm`: whether whoever answers first is asked to press 1."""

    CALL: ClassVar[dict[str, object]] = {"dial_first": "100", "dial_second": "200"}

    @pytest.mark.parametrize("usual", [True, False, "auto"])
    def test_what_the_request_says_counts(self, usual: Confirm) -> None:
        """Where it says nothing, the key does."""
        rules = JobRules(confirm=usual)
        assert parse_job({**self.CALL, "confirm": "auto"}, rules).confirm == "auto"
        assert parse_job(self.CALL, rules).confirm is usual
        assert parse_job({**self.CALL, "confirm": "true"}, rules).confirm
        refused = parse_job({**self.CALL, "confirm": False}, rules)
        assert (refused.confirm, refused.no_confirm) == (False, True)
        assert not parse_job(self.CALL, rules).no_confirm

    def test_nonsense(self) -> None:
        """Neither yes nor no."""
        with pytest.raises(ApiError, match="confirm is neither true, false nor auto"):
            parse_job({**self.CALL, "confirm": "press 1"}, JobRules())


def tried(parameters: dict[str, object], rules: JobRules) -> CallJob | tuple[Fault, ...]:
    """The job of these parameters, or what is wrong with them."""
    try:
        return parse_job(parameters, rules)
    except ApiError as error:
        return error.faults


@settings(deadline=None)
@given(first=NASTY | st.text(), second=NASTY | st.text(), names=NAMES, data=st.data())
def test_only_numbers_and_allowed_names_come_out(
    first: str, second: str, names: frozenset[str], data: st.DataObject
) -> None:
    """Whatever text goes in: a number, an allowed name, or a fault that names the parameter."""
    first = data.draw(st.sampled_from([first, *sorted(names)]))
    told = tried({"dial_first": first, "dial_second": second}, JobRules(names=names))
    if isinstance(told, CallJob):
        for number in (told.dial_first, told.dial_second, told.dial_as):
            assert NUMBER.fullmatch(number) or number in names
            assert not DANGEROUS.intersection(number)
    else:
        assert 1 <= len(told) <= 2
        assert all(one.message.startswith(("dial_first is ", "dial_second is ")) for one in told)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PARAMETERS), VALUES))
def test_any_values_make_a_job_or_faults(values: dict[str, object]) -> None:
    """Whatever JSON holds: a job within the limits, or faults that each name a parameter."""
    told = tried({"dial_first": "1", "dial_second": "2", **values}, RULES)
    if isinstance(told, CallJob):
        assert 1 <= told.timeout <= RULES.max_timeout
        assert told.pbx in {"asterisk", "switchvox", "other"}
        assert told.request_id is None or is_request_id(told.request_id)
        assert told.expires is None or 0 <= told.expires <= 10_000_000_000
    else:
        assert told
        assert all(one.message.split()[0] in PARAMETERS for one in told)
