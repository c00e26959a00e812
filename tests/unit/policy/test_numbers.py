"""Number plans: which number is meant, and that a plan never makes another one of it."""

from __future__ import annotations

import sys
from unittest.mock import patch

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from c2c_agent.call.number import NumberError
from c2c_agent.policy import numbers
from c2c_agent.policy.numbers import NumberPlan, PlannedNumber
from c2c_agent.policy.pattern import parse_pattern

INTERNAL = (parse_pattern("_1XX"), parse_pattern("_0XX"))
NATIONAL = NumberPlan("DE", "national", internal=INTERNAL)
OUTSIDE = NumberPlan("DE", "national", outside="0", internal=INTERNAL)
INTERNATIONAL = NumberPlan("DE", "international", internal=INTERNAL)
E164 = NumberPlan("DE", "e164", internal=INTERNAL)
AMERICAN = NumberPlan("US", "international", outside="9")

#: One number in all the ways in which somebody in Germany writes it.
BERLIN = ("030123456", "+4930123456", "004930123456")
#: One of another country.
NEW_YORK = ("+12125550100", "0012125550100")


class TestDialed:
    """What a PBX is told."""

    @pytest.mark.parametrize("written", BERLIN)
    @pytest.mark.parametrize(
        ("plan", "dialed"),
        [
            (NATIONAL, "030123456"),
            (OUTSIDE, "0030123456"),
            (INTERNATIONAL, "004930123456"),
            (E164, "+4930123456"),
        ],
    )
    def test_a_number_of_the_country(self, plan: NumberPlan, dialed: str, written: str) -> None:
        """The same, however it was written."""
        assert plan.read(written).dialed == dialed

    @pytest.mark.parametrize("written", NEW_YORK)
    @pytest.mark.parametrize(
        ("plan", "dialed"),
        [
            (NATIONAL, "0012125550100"),
            (OUTSIDE, "00012125550100"),
            (INTERNATIONAL, "0012125550100"),
            (E164, "+12125550100"),
        ],
    )
    def test_a_number_abroad(self, plan: NumberPlan, dialed: str, written: str) -> None:
        """There is no national form of it."""
        assert plan.read(written).dialed == dialed

    @pytest.mark.parametrize("plan", [NATIONAL, OUTSIDE, INTERNATIONAL, E164])
    @pytest.mark.parametrize(
        "written",
        [
            *("100", "199", "030"),  # internal
            *("*97", "*21*030123456#", "#31#030123456", "alice", "front-desk"),
            *("110", "112", "115", "0", "01"),
            *("30123456", "1234567"),  # one of the own town, perhaps, or an extension
            *("+999123456", "+0301234567", "00999123456", "+1", "1" * 32, "+" + "1" * 32),
        ],
    )
    def test_what_a_plan_leaves_alone(self, plan: NumberPlan, written: str) -> None:
        """What is internal, and what is no number of a country."""
        assert plan.read(written) == PlannedNumber(written, (written,))

    @pytest.mark.parametrize(
        ("written", "dialed"),
        [
            ("2125550100", "901112125550100"),
            ("12125550100", "901112125550100"),
            ("+12125550100", "901112125550100"),
            ("01149301234567", "901149301234567"),
            ("5550100", "5550100"),
            ("911", "911"),
        ],
    )
    def test_another_country(self, written: str, dialed: str) -> None:
        """North America writes ten digits, or eleven, and dials 011."""
        assert AMERICAN.read(written).dialed == dialed

    def test_a_country_without_a_trunk_prefix(self) -> None:
        """The zero of Rome is a part of its number; without it, it is another one."""
        plan = NumberPlan("IT", "national")
        assert plan.read("+390612345678").dialed == "0612345678"
        assert plan.read("0612345678").forms[1] == "+390612345678"
        assert plan.read("+39612345678").dialed != "0612345678"

    def test_a_number_that_its_country_does_not_know(self) -> None:
        """One of a new range, perhaps, is one; what cannot be one is dialled as from abroad."""
        new = phonenumbers.parse("+491000")
        assert phonenumbers.is_possible_number(new)
        assert not phonenumbers.is_valid_number(new)
        assert [NATIONAL.read(text).dialed for text in ("+491000", "01000")] == ["01000"] * 2
        assert NATIONAL.read("+49123").dialed == "0049123"

    def test_a_number_that_is_written_otherwise_there(self) -> None:
        """What its country would drop from it is dialled as it was written."""
        assert NATIONAL.read("+5590556626223").dialed == "005590556626223"

    def test_zeros_that_are_none_of_the_country(self) -> None:
        """No number of the country is read into them."""
        plan = NumberPlan(region="DE", dial="e164", international_prefix="011")
        assert plan.read("0005915").dialed == "0005915"

    @pytest.mark.parametrize("written", ["+49030123456", "0049030123456", "+440207946000"])
    def test_a_trunk_prefix_behind_the_country_code(self, written: str) -> None:
        """It may be dialled or left out: so it has two readings."""
        with pytest.raises(NumberError, match="the 0 behind its country code"):
            NATIONAL.read(written)


class TestForms:
    """All ways to write a number: what policy is asked of."""

    def test_of_the_country(self) -> None:
        """The one that was written comes first; none has the digit for an outside line."""
        for plan in (NATIONAL, OUTSIDE, INTERNATIONAL, E164):
            for written in BERLIN:
                forms = plan.read(written).forms
                assert forms[0] == written
                assert set(forms) == set(BERLIN)
            for written in NEW_YORK:
                assert set(plan.read(written).forms) == set(NEW_YORK)

    def test_north_america(self) -> None:
        """Ten digits are a form of eleven, and of the number with its country code."""
        forms = {"12125550100", "2125550100", "+12125550100", "01112125550100"}
        assert all(set(AMERICAN.read(form).forms) == forms for form in forms)

    def test_one_that_would_be_read_as_one_abroad(self) -> None:
        """A number whose national form begins with what is dialled for a `+` has none."""
        plan = NumberPlan("JP", "national", international_prefix="00")
        assert plan.read("+8100966950324").dialed == "008100966950324"


class TestPlan:
    """What a plan has to be."""

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"region": "de"}, "two capital letters"),
            ({"region": "XX"}, "two capital letters"),
            ({"region": "001"}, "two capital letters"),
            ({"outside": "+"}, "outside"),
            ({"outside": "1234567"}, "outside"),
            ({"international_prefix": ""}, "international_prefix"),
            ({"international_prefix": "+"}, "international_prefix"),
            ({"dial": "e164", "outside": "0"}, "outside must be empty beside dial: e164"),
            ({"region": "BR"}, "international_prefix must be given: BR has several"),
        ],
    )
    def test_impossible(self, settings: dict[str, str], told: str) -> None:
        """Said in words."""
        with pytest.raises(ValueError, match=told):
            NumberPlan(**{"region": "DE", "dial": "national", **settings})  # type: ignore[arg-type]

    def test_the_country_s_own_prefix(self) -> None:
        """Unless another is given."""
        prefixes = {region: NumberPlan(region, "international").prefix for region in ("DE", "US")}
        assert prefixes == {"DE": "00", "US": "011"}
        assert NumberPlan("AU", "international").prefix == "0011"
        assert NumberPlan("BR", "international", international_prefix="0015").prefix == "0015"

    def test_without_the_library(self) -> None:
        """The message says what to install."""
        numbers._library.cache_clear()
        with (
            patch.dict(sys.modules, {"phonenumbers": None}),
            pytest.raises(
                ValueError, match=r"phonenumberslite; by pip, install c2c-agent\[numbers"
            ),
        ):
            NumberPlan("DE", "national")
        numbers._library.cache_clear()


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("dial", ["national", "international", "e164"])
def test_never_another_number_for_any_country(dial: numbers.Dial) -> None:
    """Every country's examples: what is dialled means, read back, what was written."""
    read_back = 0
    for region in REGIONS:
        plan = NumberPlan(region, dial, international_prefix="00")
        for other in (region, "DE", "US", "IT", "AR"):
            example = phonenumbers.example_number(other)
            if example is None:
                continue
            e164 = phonenumbers.format_number(example, PhoneNumberFormat.E164)
            dialed = plan.read(e164).dialed
            if dialed.startswith("00") and not dialed.startswith(("+", "000")):
                assert dialed[2:] == e164[1:] or means(dialed, region) == e164
            else:
                assert means(dialed, region) == e164
            read_back += 1
    assert read_back > 1000


def means(dialed: str, region: str) -> str:
    """The number of somebody who dials that in a country."""
    return phonenumbers.format_number(phonenumbers.parse(dialed, region), PhoneNumberFormat.E164)


PLANS = [NATIONAL, OUTSIDE, INTERNATIONAL, E164, AMERICAN, NumberPlan("IT", "national")]


@settings(deadline=None)
@given(st.from_regex(r"\A\+?[0-9*#]{1,32}\Z"), st.sampled_from(PLANS))
def test_every_form_is_the_same_number(written: str, plan: NumberPlan) -> None:
    """Whatever is written: each form is read as the same number, and dialled in the same way."""
    try:
        planned = plan.read(written)
    except NumberError:
        return
    assert planned.forms[0] == written
    for form in planned.forms:
        if not any(pattern.matches(form) for pattern in plan.internal):
            assert plan.read(form).dialed == planned.dialed
    assert planned.dialed.removeprefix(plan.outside) in planned.forms or planned.dialed == written
