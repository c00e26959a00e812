"""How people write numbers: each is the number that was written, or is refused by what is in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from c2c_agent.call.number import _COUNTRY_CODE, _ZERO_STAYS, NumberError, read_number
from tests.unit.call.written_numbers import ACCEPTED, REFUSED

#: A whole number of more digits than Python turns into text.
HUGE = 10**5000


def number(value: object) -> str | None:
    """The number that was written; None: it is refused."""
    try:
        return read_number(value)
    except NumberError:
        return None


def examples() -> Iterator[phonenumbers.PhoneNumber]:
    """Those of libphonenumber: one of each type for each country."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in PhoneNumberType.values():
            example = phonenumbers.example_number_for_type(region, kind)
            if example is not None:
                yield example


EXAMPLES = list(examples())


def test_the_table_is_long() -> None:
    """Whatever is in it stands there once."""
    written = [repr(text) for text, _ in [*ACCEPTED, *REFUSED]]
    assert len(written) >= 300
    assert len(set(written)) == len(written)


@pytest.mark.parametrize(("written", "meant"), ACCEPTED, ids=lambda text: ascii(text)[:40])
def test_the_number_that_was_written(written: object, meant: str) -> None:
    """Decoration is dropped, and nothing else."""
    assert read_number(written) == meant


@pytest.mark.parametrize(("written", "found"), REFUSED, ids=lambda text: ascii(text)[:40])
def test_refused_by_what_is_in_it(written: object, found: str) -> None:
    """The message names it, and can be shown anywhere."""
    with pytest.raises(NumberError, match=re.escape(found)) as refused:
        read_number(written)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 130


def test_a_huge_number() -> None:
    """Of JSON: not even Python writes it."""
    assert number(HUGE) is None


def test_a_name_that_is_allowed() -> None:
    """As it is, or not at all."""
    names = {"alice", "front-desk", "*97"}
    assert [read_number(name, names) for name in sorted(names)] == sorted(names)
    for other in ("Alice", "alice ", "frontdesk", "tel:alice", "bob"):
        with pytest.raises(NumberError):
            read_number(other, names)


def test_every_country_s_numbers() -> None:
    """As libphonenumber writes them for abroad, and as RFC 3966 does."""
    assert len(EXAMPLES) > 1000
    for example in EXAMPLES:
        meant = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        for form in (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966):
            assert number(phonenumbers.format_number(example, form)) == meant


def test_every_country_s_numbers_at_home() -> None:
    """The digits in their order, whatever stands between them."""
    for example in EXAMPLES:
        text = phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL)
        told = number(text)
        digits = "".join(filter(str.isdigit, text))
        # Some have a letter, or a star, which is theirs.
        assert told in {digits, None} or "*" in text
        assert told is not None or any(map(str.isalpha, text))


def test_every_country_s_extensions() -> None:
    """None is dialled as a part of the number."""
    for example in EXAMPLES:
        extended = phonenumbers.PhoneNumber()
        extended.merge_from(example)
        extended.extension = "123"
        for form in (
            PhoneNumberFormat.INTERNATIONAL,
            PhoneNumberFormat.NATIONAL,
            PhoneNumberFormat.RFC3966,
        ):
            assert number(phonenumbers.format_number(extended, form)) is None


def test_country_codes() -> None:
    """Those that libphonenumber knows; and none begins another, so a bracket behind one is its."""
    codes = {str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}
    assert all(map(_COUNTRY_CODE.fullmatch, codes))
    for code in codes:
        for end in range(1, len(code)):
            assert not _COUNTRY_CODE.fullmatch(code[:end])


def test_a_zero_that_is_dialled_from_abroad() -> None:
    """Where libphonenumber knows of one, a zero in brackets has two readings."""
    stays = {str(one.country_code) for one in EXAMPLES if one.italian_leading_zero}
    assert stays <= _ZERO_STAYS
    for code in _ZERO_STAYS:
        assert number(f"+{code} (0) 1234567") is None


# Whatever is written

DECORATION = st.text(st.sampled_from(" .-/()\u00a0\u2009\u202f\u2013\u2212\u200e\u202a\u202c"))
DIGITS = st.text(st.sampled_from("0123456789*#"), min_size=1, max_size=32)
SCRIPTS = ["0", "\uff10", "\u0660", "\u06f0", "\u0966", "\u0e50"]
ANYTHING = st.text(
    st.sampled_from(
        "0123456789*#+ .-/()x,;pw=:%&@~_eExttelcallto\u00a0\u2013\u202e\u200e\u0663\uff10\uff0b"
        "\u00b2\u2460\n\r\0\ud800"
    ),
    max_size=40,
)
#: A bracket with a zero alone in it behind a country code.
ZERO = re.compile(r"(?<=[0-9])([^0-9+*#]*)0(?=[^0-9+*#])")


def written_digits(text: str) -> str:
    """Digits, `*` and `#` of a text, in their order, as Unicode has them."""
    plain = ((one, unicodedata.decimal(one, None)) for one in text)
    return "".join(
        str(digit) if digit is not None else unicodedata.normalize("NFKC", one)
        for one, digit in plain
        if digit is not None or one in "*#\uff0a\uff03"
    )


def is_what_was_written(text: str, read: str) -> bool:
    """Whether it is the number of that text: no digit more, none less, in the same order.

    But for one zero, which stood by itself in brackets, behind a country code with its plus.
    """
    digits = written_digits(text)
    if read.startswith("+") is not any(one in text for one in "+\uff0b\ufe62"):
        return False
    if read.removeprefix("+") == digits:
        return True
    plain = re.sub(r"[^0-9()]", "", "".join(unicodedata.normalize("NFKC", one) for one in text))
    plain = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in plain)
    code, _, rest = plain.lstrip("(").partition("(0)")
    code = code.replace(")", "").replace("(", "")
    return bool(read == "+" + code + re.sub(r"[^0-9]", "", rest) and _COUNTRY_CODE.fullmatch(code))


@settings(deadline=None)
@given(ANYTHING | st.text())
def test_never_another_number(text: str) -> None:
    """Whatever is written: that number, or none."""
    read = number(text)
    if read is not None:
        assert re.fullmatch(r"\+?[0-9*#]{1,32}", read)
        bare = re.sub(r"\A\W*(tel|callto)(?=\W*:)", "", text, flags=re.IGNORECASE)
        assert not any(map(str.isalpha, bare.replace("\u30fc", "")))
        if not any(one in text for one in "(\uff08"):
            assert read.removeprefix("+") == written_digits(text)
        assert is_what_was_written(text, read)


@settings(deadline=None)
@given(DIGITS, st.booleans(), st.data())
def test_however_it_is_decorated(digits: str, plus: bool, data: st.DataObject) -> None:
    """The digits that it was made of, or a refusal: never others."""
    meant = "+" * plus + digits
    zero = ord(data.draw(st.sampled_from(SCRIPTS)))
    scheme = data.draw(st.sampled_from(["", "tel:", "callto://", "TEL:///"]))
    text = scheme + "".join(
        (chr(zero + int(one)) if one.isdigit() else one) + data.draw(DECORATION)[:3]
        for one in meant
    )
    read = number(text[:128]) if len(text) <= 128 else None
    if "(" not in text:
        assert read in {meant, None}
    elif read is not None:
        assert is_what_was_written(text, read)


@settings(deadline=None)
@given(
    st.from_regex(r"\A\+?[0-9]{1,15}\Z"),
    st.sampled_from(
        [
            "x{}",
            " ext. {}",
            ";ext={}",
            ",{}",
            ";{}",
            "p{}",
            "W{}",
            "~{}",
            "&{}",
            "@{}",
            "=1{}",
            "%{}",
        ]
    ),
    st.from_regex(r"\A[0-9]{1,6}\Z"),
)
def test_nothing_behind_a_number_becomes_a_part_of_it(
    first: str, between: str, second: str
) -> None:
    """Neither are its own digits dialled alone."""
    assert number(first + between.format(second)) is None
