"""Keys and caps: who may place which call, and how many of them."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from c2c_agent.call.job import CallJob
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.hours import WeekTime, parse_hours
from c2c_agent.policy.keys import (
    OPERATOR,
    AutoAnswer,
    Key,
    KeyRing,
    key_digest,
    new_secret,
    operator_key,
)
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pattern import Pattern, parse_pattern

ANY_SHA256 = "0" * 64


def patterns(*texts: str) -> tuple[Pattern, ...]:
    """These texts as patterns."""
    return tuple(parse_pattern(text) for text in texts)


def key(
    name: str = "crm",
    *,
    secret: str | None = None,
    allow: tuple[str, ...] = ("_1XX",),
    deny: tuple[str, ...] = (),
    dial_as: tuple[str, ...] | None = None,
    max_concurrent: int | None = None,
    per_minute: int | None = None,
    hours: tuple[str, ...] = (),
    auto_answer: AutoAnswer | None = None,
) -> Key:
    """A key that may dial three digits, as anybody, as often as it likes."""
    return Key(
        name=name,
        sha256=ANY_SHA256 if secret is None else key_digest(secret),
        allow=patterns(*allow),
        deny=patterns(*deny),
        dial_as=None if dial_as is None else patterns(*dial_as),
        max_concurrent=max_concurrent,
        per_minute=per_minute,
        hours=tuple(parse_hours(text) for text in hours),
        auto_answer=auto_answer,
    )


def job(first: str = "100", second: str = "101", dial_as: str = "100") -> CallJob:
    """A wanted call."""
    return CallJob(dial_first=first, dial_second=second, dial_as=dial_as, timeout=30)


class TestPages:
    """What a ring of keys says of pages."""

    def test_origins(self) -> None:
        """Pages of an origin are welcome where some key names it, and told errors as that says."""
        page, other = "https://crm.example.com", "https://other.example.com"
        ring = KeyRing(
            [key(), evolve(key("a"), origins=(page,)), evolve(key("b"), http_errors=True)]
        )
        assert ring.welcomes(page)
        assert not ring.welcomes(other)
        assert not ring.welcomes("")
        assert not ring.shows_errors(page)
        ring.change([evolve(key(), origins=(page,), http_errors=True)])
        assert ring.shows_errors(page)
        assert not ring.shows_errors(other)


class TestKey:
    """What a key opens."""

    def test_nothing_is_allowed_by_default(self) -> None:
        """A key without patterns dials nobody."""
        bare = Key(name="crm", sha256=ANY_SHA256)
        assert not bare.may_dial("100")
        assert [fault.message for fault in bare.faults(job())] == [
            "This key may not dial this dial_first.",
            "This key may not dial this dial_second.",
        ]

    def test_legs_of_their_own(self) -> None:
        """`first` and `second` narrow what is allowed, each for its leg; they allow nothing."""
        user = evolve(key(allow=("_X.",)), first=patterns("_1XX"), second=patterns("_0X.", "_9XX"))
        assert user.faults(job("100", "0301234")) == []
        assert [fault.message for fault in user.faults(job("0301234", "0401234"))] == [
            "This key may not dial this dial_first."
        ]
        assert [fault.message for fault in user.faults(job("100", "101"))] == [
            "This key may not dial this dial_second."
        ]
        narrow = evolve(user, allow=patterns("_1XX"))
        assert not narrow.may_ring_second("0301234")
        assert not evolve(user, first=()).may_ring_first("100")

    def test_legs_denied(self) -> None:
        """What is denied is so whatever a leg has."""
        user = evolve(key(allow=("_X.",), deny=("_00.",)), second=patterns("_X."))
        assert not user.may_ring_second("0049301234")

    def test_default_first(self) -> None:
        """Only a number that may be rung first can be the default."""
        user = evolve(key(allow=("_X.", "alice")), first=patterns("_1XX", "alice"))
        assert evolve(user, default_first="100").default_first == "100"
        assert evolve(user, default_first="alice").default_first == "alice"
        for number in ("200", "1-00", "bob", ""):
            with pytest.raises(ValueError, match="a number that the key may ring first"):
                evolve(user, default_first=number)

    @pytest.mark.parametrize(
        "origin",
        [
            "https://crm.example.com",
            "http://localhost:8080",
            "http://[::1]:81",
            "moz-extension://a-1",
        ],
    )
    def test_origins(self, origin: str) -> None:
        """As browsers write them."""
        assert evolve(key(), origins=(origin,)).origins == (origin,)

    @pytest.mark.parametrize(
        "origin",
        [
            *("*", "null", "https://*.example.com", "https://crm.example.com/", "crm.example.com"),
            *("https://CRM.example.com", "https://crm.example.com:443", "http://crm:80", ""),
            *("https://a@crm", "https://crm\n"),
        ],
    )
    def test_what_is_no_origin(self, origin: str) -> None:
        """Nothing that matches more than one, or never would."""
        with pytest.raises(ValueError, match="an origin as browsers write it"):
            evolve(key(), origins=(origin,))

    def test_map(self) -> None:
        """To parameters alone; the key itself has no other name."""
        names = {"from": "dial_first", "id": "metadata.record_1"}
        assert evolve(key(), map=names).map == names
        for name in ("dial_frist", "api_key", "metadata", "metadata.A", ""):
            with pytest.raises(ValueError, match="a parameter such as dial_second"):
                evolve(key(), map={"x": name})
        for name in ("api_key", "", "x" * 65):
            with pytest.raises(ValueError, match="must match"):
                evolve(key(), map={name: "dial_first"})

    def test_deny_wins(self) -> None:
        """What is denied stays so, whatever allows it."""
        crm = key(allow=("_1XX", "110"), deny=("_11X",))
        assert crm.may_dial("100")
        assert not crm.may_dial("110")
        assert not crm.may_dial("200")

    def test_both_numbers_are_checked(self) -> None:
        """Also the first: it may be a number that costs money."""
        crm = key()
        assert crm.faults(job()) == []
        assert crm.faults(job(first="0900")) == [
            Fault(ErrorCode.NOT_ALLOWED, "This key may not dial this dial_first.")
        ]
        assert crm.faults(job(second="0900")) == [
            Fault(ErrorCode.NOT_ALLOWED, "This key may not dial this dial_second.")
        ]

    @pytest.mark.parametrize(
        ("denied", "number", "prefix", "wanted"),
        [
            ("_0049.", "+4930", "00", False),
            ("_+49.", "004930", "00", False),
            ("_+49.", "011493", "011", False),
            ("_01149.", "+49", "011", True),
            ("_01149.", "+4930", "011", False),
            ("_+49.", "004930", None, True),
            ("_+49.", "+4930", None, False),
            ("_+49.", "04930", "00", True),
            ("_00.", "+4930", "00", False),
            ("_1!", "1*72#", None, False),
        ],
    )
    def test_deny_holds_for_every_form(
        self, denied: str, number: str, prefix: str | None, wanted: bool
    ) -> None:
        """A number that is denied is so however it is written, and whatever comes behind it."""
        crm = key(allow=("_X.", "_+X.", "_1*72#"), deny=(denied,))
        assert crm.may_dial(number, prefix) is wanted

    def test_allowed_is_what_is_written(self) -> None:
        """To allow one form of a number does not allow another."""
        assert not key(allow=("_0049.",)).may_dial("+4930", "00")
        assert not key(allow=("_+49.",)).may_dial("004930", "00")

    @pytest.mark.parametrize("written", ["030123456", "+4930123456", "004930123456"])
    @pytest.mark.parametrize(
        ("allow", "deny", "wanted"),
        [
            (("_0[1-9]X.",), (), True),
            (("_+49X.",), (), True),
            (("_0049X.",), (), True),
            (("_+X.",), ("_030.",), False),
            (("_+X.",), ("_004930.",), False),
            (("_0[1-9]X.",), ("_+4930.",), False),
            (("_0[1-9]X.",), ("_9030.",), False),  # as it is dialled
            (("_9X.",), (), False),  # which nobody writes
            (("_+1X.",), (), False),
        ],
    )
    def test_every_form_of_a_planned_number(
        self, written: str, allow: tuple[str, ...], deny: tuple[str, ...], wanted: bool
    ) -> None:
        """It is the same number, however it was written: so the answer is the same, too."""
        planned = NumberPlan("DE", "national", outside="9").read(written)
        crm = key(allow=allow, deny=deny)
        assert crm.may_dial(written, "00", planned) is wanted
        faults = crm.faults(job(first=written, second=written), "00", {written: planned})
        assert len(faults) == (0 if wanted else 2)

    def test_hours(self) -> None:
        """Without hours always; else within any of them."""
        crm = key(hours=("Mo-Fr 08:00-18:00", "Sa 10:00-12:00"))
        times = [(0, 479), (0, 480), (4, 1079), (4, 1080), (5, 660), (6, 660)]
        assert [crm.may_call_at(WeekTime(*time)) for time in times] == [
            *[False, True, True],
            *[False, True, False],
        ]
        assert key().may_call_at(WeekTime(6, 0))

    def test_dial_as(self) -> None:
        """Without a list as anyone, with one only as those in it, with an empty one as nobody."""
        message = "This key may not place calls as this dial_as."
        assert key().faults(job(dial_as="999")) == []
        assert key(dial_as=("_1XX",)).faults(job(dial_as="199")) == []
        for restricted in (key(dial_as=("_1XX",)), key(dial_as=())):
            assert restricted.faults(job(dial_as="999")) == [Fault(ErrorCode.NOT_ALLOWED, message)]

    def test_all_faults_together_in_order(self) -> None:
        """The first number, the second, the identity."""
        told = key(dial_as=()).faults(job(first="2", second="3", dial_as="4"))
        assert [fault.message.split()[-1] for fault in told] == [
            "dial_first.",
            "dial_second.",
            "dial_as.",
        ]

    def test_names(self) -> None:
        """Extensions with letters may be dialled where a pattern is that very name."""
        crm = key(allow=("_1XX", "alice"), dial_as=("front-desk", "_2XX"))
        assert crm.names == {"alice", "front-desk"}
        assert key(allow=("_1XX",)).names == frozenset()

    @pytest.mark.parametrize("name", ["crm", "A.b-c_9", "x" * 64])
    def test_name(self, name: str) -> None:
        """Letters, digits, and three signs."""
        assert key(name).name == name

    @pytest.mark.parametrize("name", ["", "x" * 65, "a b", "crm\n", "c:rm", "\u00e4"])
    def test_no_name(self, name: str) -> None:
        """The name stands in logs and records: nothing in it that could be misread."""
        with pytest.raises(ValueError, match="name must be 1 to 64 letters, digits"):
            key(name)

    @pytest.mark.parametrize(
        "digest", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"]
    )
    def test_no_sha256(self, digest: str) -> None:
        """Only what `key new` prints; the key itself instead of its hash is noticed."""
        with pytest.raises(ValueError, match="64 hexadecimal digits that `key new` prints"):
            Key(name="crm", sha256=digest)

    @pytest.mark.parametrize("cap", [0, -1])
    def test_no_cap(self, cap: int) -> None:
        """A cap of nothing would be a key that opens nothing."""
        with pytest.raises(ValueError, match="max_concurrent"):
            key(max_concurrent=cap)
        with pytest.raises(ValueError, match="per_minute"):
            key(per_minute=cap)

    def test_the_hash_is_not_shown(self) -> None:
        """A key in a log line or a traceback does not give its hash away."""
        assert key_digest("secret") not in repr(key(secret="secret"))


class TestKeyRing:
    """Finding the key of a secret."""

    def test_find(self) -> None:
        """The key whose hash it is; None for any other secret."""
        crm, shop = key("crm", secret="one"), key("shop", secret="two")
        ring = KeyRing([crm, shop])
        assert ring.find("one") is crm
        assert ring.find("two") is shop
        assert ring.find("three") is None
        assert ring.find("") is None
        assert KeyRing([]).find("one") is None
        assert list(ring) == [crm, shop]
        assert ring.named(crm.name) is crm
        assert ring.named("nobody") is None

    def test_named(self) -> None:
        """The key of a name; None where there is none any more."""
        crm = key("crm", secret="one")
        assert KeyRing([key("shop", secret="two"), crm]).named("crm") is crm
        assert KeyRing([crm]).named("shop") is None

    @pytest.mark.parametrize("secret", ["one", "two", "three", "none of them"])
    def test_every_key_is_compared(self, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """In constant time each, and all of them: time tells neither hit nor place."""
        keys = [key(name, secret=name) for name in ("one", "two", "three")]
        compared: list[str] = []
        compare = hmac.compare_digest

        def count(left: str, right: str) -> bool:
            compared.append(right)
            return compare(left, right)

        monkeypatch.setattr("hmac.compare_digest", count)
        found = KeyRing(keys).find(secret)
        assert compared == [one.sha256 for one in keys]
        assert (found and found.name) == (secret if secret != "none of them" else None)

    @settings(deadline=None)
    @given(st.text() | st.sampled_from(["\ud800", "\udcff", "a\0b"]))
    def test_any_text_may_be_presented(self, secret: str) -> None:
        """Whatever JSON makes a text of is looked up; what is no key opens nothing."""
        assert KeyRing([key(secret="c2c_one")]).find(secret) is None


class TestSecrets:
    """Keys as their holders know them."""

    def test_digest(self) -> None:
        """SHA-256 of the key's UTF-8, as any other tool computes it."""
        assert key_digest("abc") == hashlib.sha256(b"abc").hexdigest()
        assert key_digest("\u00e4") == hashlib.sha256(b"\xc3\xa4").hexdigest()

    def test_new_secret(self) -> None:
        """Long, never twice the same, and in a URL without percent signs."""
        secrets = {new_secret() for _ in range(100)}
        assert len(secrets) == 100
        for secret in secrets:
            assert secret.startswith("c2c_")
            assert len(secret) >= 4 + 256 // 6
            assert secret.replace("-", "").replace("_", "").isalnum()
            assert secret.isascii()


class TestOperator:
    """The key of the agent's own host."""

    def test_what_some_key_may(self) -> None:
        """It may dial what any key may."""
        operator = operator_key(ANY_SHA256, [key(allow=("_1XX",)), key("b", allow=("alice",))])
        assert operator.name == OPERATOR
        assert operator.sha256 == ANY_SHA256
        assert operator.may_dial("100")
        assert operator.may_dial("alice")
        assert not operator.may_dial("200")
        assert operator.names == {"alice"}

    def test_what_one_key_may_not(self) -> None:
        """A denial of any key holds for it, too."""
        operator = operator_key(
            ANY_SHA256, [key(allow=("_X.",)), key("b", allow=(), deny=("_0900.",))]
        )
        assert operator.may_dial("100")
        assert not operator.may_dial("0900123")

    def test_dial_as(self) -> None:
        """As anyone where one key may; else as those that some key may."""
        restricted = [key(dial_as=("_1XX",)), key("b", dial_as=("200",))]
        operator = operator_key(ANY_SHA256, restricted)
        assert [operator.may_dial_as(name) for name in ("100", "200", "300")] == [True, True, False]
        assert operator_key(ANY_SHA256, [*restricted, key("c")]).may_dial_as("300")

    def test_without_keys(self) -> None:
        """Where nothing is configured, it opens nothing either."""
        operator = operator_key(ANY_SHA256, [])
        assert operator.auto_answer is None
        assert not operator.may_dial("100")
        assert not operator.may_dial_as("100")

    def test_without_caps(self) -> None:
        """It has no caps of its own."""
        keys = [key(max_concurrent=1, per_minute=1), key("b", auto_answer="alert-info")]
        operator = operator_key(ANY_SHA256, keys)
        assert (operator.auto_answer, operator.auto_answer_always) == ("alert-info", False)
        assert (operator.max_concurrent, operator.per_minute) == (None, None)
