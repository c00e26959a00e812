"""The number plan of a PBX: which number is meant, and how its dialplan wants it dialled.

Pure. People write a number for their own country (`030 123456`), for abroad (`+49 30 123456`), or
an extension. A dialplan understands one of these ways, perhaps behind a digit for an outside line.
`NumberPlan.read` brings a number from the one to the other. What it does not understand stays as it
was written, and no number becomes another one: each form is read back before it counts.

Countries and their numbers are known from libphonenumber, by a package that not every installation
has; only who has a plan needs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

from attrs import Attribute, field, frozen
from attrs.validators import matches_re, optional

from c2c_agent.call.number import NumberError
from c2c_agent.policy.pattern import Pattern
from c2c_agent.text import described

Dial: TypeAlias = Literal["national", "international", "e164"]

_DIGITS: Final = re.compile("[0-9]{1,32}")
_PREFIX: Final = re.compile("[0-9]{1,6}")
_OUTSIDE: Final = re.compile("[0-9*#]{0,6}")


@frozen
class PlannedNumber:
    """A number as a plan reads it.

    `dialed` is what the PBX is told. `forms` are all ways to write it, the one that was written
    first; a digit for an outside line is in none of them.
    """

    dialed: str
    forms: tuple[str, ...]


def _is_region(_instance: object, _attribute: Attribute[Any], value: str) -> None:
    """A validator: a country whose numbers are known. Raises ValueError."""
    library = _library()
    if value not in library.SUPPORTED_REGIONS:
        raise ValueError(f"region must be the two capital letters of a country, not {value!r}")


@frozen
class NumberPlan:
    """How numbers are written by callers, and dialled by a PBX.

    `internal` numbers are left alone. `international_prefix` None: that of the `region`.
    Raises ValueError for a plan that cannot be.
    """

    region: str = field(
        validator=_is_region,
        metadata=described(
            "The country in which a number without a country code is one. Number plans need the "
            "package phonenumberslite; the Debian package has it, and by pip it is "
            "`c2c-agent[numbers]`.",
            values='two capital letters, such as `DE` (write `"NO"` in quotes)',
        ),
    )
    dial: Dial = field(
        metadata=described(
            "How the dialplan wants a number: `national` is `030…` within the country and the "
            "international form else, `international` is `0049…`, and `e164` is `+49…`."
        )
    )
    outside: str = field(
        default="",
        validator=matches_re(_OUTSIDE),
        metadata=described(
            "What is dialled before every number outside, for an outside line. Nobody writes it "
            "in a request.",
            values="up to 6 digits, `*` or `#`, in quotes",
            default="nothing",
        ),
    )
    international_prefix: str | None = field(
        default=None,
        validator=optional(matches_re(_PREFIX)),
        metadata=described(
            "What is dialled, and may be written, for a `+`.",
            values="1 to 6 digits, in quotes",
            default="the country's own",
        ),
    )
    internal: Sequence[Pattern] = field(
        default=(),
        metadata=described(
            "The PBX's own extensions, which are left as they are. So is what is no number of the "
            "country, such as a service code."
        ),
    )

    def __attrs_post_init__(self) -> None:
        if self.dial == "e164" and self.outside:
            raise ValueError("outside must be empty beside dial: e164")
        if self.international_prefix is None and not _usual_prefix(self.region):
            raise ValueError(f"international_prefix must be given: {self.region} has several")

    @property
    def prefix(self) -> str:
        """What is dialled for a `+`."""
        return self.international_prefix or _usual_prefix(self.region)

    def read(self, number: str) -> PlannedNumber:
        """The number in all its forms; `number` is one that `call.number` has made plain.

        Raises NumberError for one that has two readings.
        """
        as_it_is = PlannedNumber(number, (number,))
        digits = number.removeprefix("+")
        if _DIGITS.fullmatch(digits) is None or any(one.matches(number) for one in self.internal):
            return as_it_is
        if number.startswith("+"):
            written = number
        elif number.startswith(self.prefix):
            written = "+" + number.removeprefix(self.prefix)
        else:
            return self._from_home(number) or as_it_is
        return self._abroad(number, written) or as_it_is

    def _abroad(self, number: str, e164: str) -> PlannedNumber | None:
        """A number that was written with its country code; None: there is no such country."""
        parsed = _parsed(e164, None)
        if parsed is None:
            return None
        plain = _e164(parsed)
        if plain == e164:
            return self._planned(number, e164, self._at_home(parsed))
        library = _library()
        trunk = _trunk(library.region_code_for_country_code(parsed.country_code))
        code = f"+{parsed.country_code}"
        if trunk and e164 == code + trunk + plain.removeprefix(code):
            message = f"the {trunk} behind its country code may be dialled or left out"
            raise NumberError(f"{message}; write it as it is dialled from abroad")
        return self._planned(number, e164, ())

    def _from_home(self, number: str) -> PlannedNumber | None:
        """A number that was written without a country code; None: it is none of the region."""
        parsed = _parsed(number, self.region)
        if parsed is None:
            return None
        e164, forms = _e164(parsed), self._at_home(parsed)
        abroad = _parsed(e164, None)
        if abroad is None or _e164(abroad) != e164:
            return None
        # Without its trunk prefix it may be one of the own town, or an extension.
        return self._planned(number, e164, forms) if number in forms else None

    def _planned(self, number: str, e164: str, at_home: Sequence[str]) -> PlannedNumber:
        international = self.prefix + e164.removeprefix("+")
        match self.dial:
            case "e164":
                dialed = e164
            case "national" if at_home:
                dialed = self.outside + at_home[0]
            case _:
                dialed = self.outside + international
        return PlannedNumber(dialed, tuple(dict.fromkeys([number, e164, international, *at_home])))

    def _at_home(self, parsed: Any) -> Sequence[str]:
        """How a number is dialled within the region: as is usual, and with its trunk prefix.

        Nothing where it is no number of the region.
        """
        library = _library()
        here = parsed.country_code == library.country_code_for_region(self.region)
        if not here or not library.is_possible_number(parsed):
            return ()
        forms = [_trunk(self.region) + library.national_significant_number(parsed)]
        if library.is_valid_number(parsed):  # else it is of a range that is not known yet, perhaps
            text = library.format_number(parsed, library.PhoneNumberFormat.NATIONAL)
            forms.insert(0, re.sub(r"[ .()/-]", "", text))
        return [form for form in dict.fromkeys(forms) if self._means(form, parsed)]

    def _means(self, form: str, parsed: Any) -> bool:
        """Whether that is this number to who reads it in the region."""
        if _DIGITS.fullmatch(form) is None or form.startswith(self.prefix):
            return False
        back = _parsed(form, self.region)
        return back is not None and _e164(back) == _e164(parsed)


@cache
def _library() -> Any:
    """libphonenumber, which takes memory of its own; raises ValueError where there is none."""
    try:
        return import_module("phonenumbers")
    except ImportError:
        message = "needs the package phonenumberslite; by pip, install c2c-agent[numbers]"
        raise ValueError(message) from None


def _usual_prefix(region: str) -> str:
    """What is dialled for a `+` in a country; '' where that depends."""
    metadata = _library().PhoneMetadata.metadata_for_region(region)
    for prefix in (metadata.preferred_international_prefix, metadata.international_prefix):
        if prefix is not None and _PREFIX.fullmatch(prefix):
            return str(prefix)
    return ""


def _trunk(region: str) -> str:
    """What is dialled before a number within a country, but not from abroad; '' for nothing."""
    return _library().ndd_prefix_for_region(region, strip_non_digits=True) or ""


def _parsed(text: str, region: str | None) -> Any:
    """What libphonenumber makes of a text; None where it makes nothing of it."""
    library = _library()
    try:
        return library.parse(text, region)
    except library.NumberParseException:
        return None


def _e164(parsed: Any) -> str:
    library = _library()
    return str(library.format_number(parsed, library.PhoneNumberFormat.E164))
