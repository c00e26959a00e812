"""Tokens: what they open, and that nothing else is taken for one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from c2c_agent.call.job import CallJob
from c2c_agent.policy.keys import Key, KeyRing, key_digest
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.policy.token import LONGEST, Ticket, Token, TokenError, TokenSigner, _signing_key

NOW = 1_435_628_937
SECRET = b"a secret of 32 characters or more"
NEWER = b"another secret of 32 characters.."
CRM = Key(name="crm", sha256=key_digest("c2c_crm"), allow=(parse_pattern("_XXX"),))
SHOP = Key(name="shop", sha256=key_digest("c2c_shop"))
KEYS = KeyRing([CRM, SHOP])
SIGNER = TokenSigner([SECRET])
TOKEN = Token(
    id="one",
    dial_first="100",
    expires=NOW + 60,
    dial_as="150",
    second=(parse_pattern("_2XX"), parse_pattern("301")),
    origin="https://crm.example.com",
    uses=3,
)


def refused(text: str, *, now: float = NOW, keys: KeyRing = KEYS) -> tuple[str, bool]:
    """Why a text is no token, and whether it never was."""
    with pytest.raises(TokenError) as caught:
        SIGNER.read(text, keys.named, now)
    return str(caught.value), caught.value.forged


FORGED = ("This token is not valid.", True)


def signed(claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
    """A text that is signed as ours are, whatever it says."""
    whole = {"aud": "c2c-agent:calls", "jti": "x", "iat": NOW, "exp": NOW + 9, "dial_first": "1"}
    head = {"alg": "HS256", "typ": "c2c+jwt", "kid": "crm", **(header or {})}
    given = {name: value for name, value in {**whole, **claims}.items() if value is not None}
    return jwt.encode(head, given, _signing_key(SECRET, CRM), algorithms=["HS256", "HS512"])


class TestReading:
    def test_there_and_back(self) -> None:
        """What was signed is read, with its key."""
        for token in (TOKEN, Token(id="two", dial_first="alice", expires=NOW + LONGEST)):
            assert SIGNER.read(SIGNER.sign(token, CRM, NOW), KEYS.named, NOW) == (CRM, token)

    def test_a_ticket(self) -> None:
        """It is none of the other kind, nor is a token a ticket."""
        ticket = Ticket("one", NOW + 30, "100", "https://crm.example.com")
        text = SIGNER.sign_ticket(ticket, CRM, NOW)
        assert SIGNER.read_ticket(text, KEYS.named, NOW) == (CRM, ticket)
        assert refused(text) == FORGED
        with pytest.raises(TokenError):
            SIGNER.read_ticket(SIGNER.sign(TOKEN, CRM, NOW), KEYS.named, NOW)

    def test_expired(self) -> None:
        """To the second; that is no forgery."""
        text = SIGNER.sign(TOKEN, CRM, NOW)
        assert SIGNER.read(text, KEYS.named, NOW + 59.9)[1] == TOKEN
        assert refused(text, now=NOW + 60) == ("This token has expired.", False)

    def test_another_relays_clock(self) -> None:
        """A few seconds ahead it may be, and no more."""
        text = SIGNER.sign(TOKEN, CRM, NOW)
        assert SIGNER.read(text, KEYS.named, NOW - 5)[1] == TOKEN
        assert refused(text, now=NOW - 6) == FORGED

    def test_for_too_long(self) -> None:
        """No token is valid for longer than any is given."""
        assert refused(signed({"exp": NOW + LONGEST + 1})) == FORGED

    @pytest.mark.parametrize("claim", ["aud", "exp", "iat", "jti"])
    def test_a_claim_that_is_missing(self, claim: str) -> None:
        """Whatever has to stand there does."""
        SIGNER.read(signed({}), KEYS.named, NOW)
        assert refused(signed({claim: None})) == FORGED

    def test_a_claim_that_is_wrong(self) -> None:
        """The same."""
        for claims in ({"aud": "other"}, {"exp": "never"}, {"iat": "now"}, {"jti": 7}):
            assert refused(signed(claims)) == FORGED

    def test_another_key(self) -> None:
        """A token of a key is none of another, whatever its header says."""
        text = SIGNER.sign(TOKEN, CRM, NOW)
        head, body, signature = text.split(".")
        other = base64.urlsafe_b64encode(
            json.dumps({"typ": "c2c+jwt", "alg": "HS256", "kid": "shop"}).encode()
        ).rstrip(b"=")
        assert refused(f"{other.decode()}.{body}.{signature}") == FORGED
        assert refused(f"{head}.{body}.{signature[:-2]}") == FORGED

    def test_the_end_of_its_key(self) -> None:
        """A key that is gone, or has another secret, takes its tokens with it."""
        text = SIGNER.sign(TOKEN, CRM, NOW)
        assert refused(text, keys=KeyRing([SHOP])) == FORGED
        changed = evolve(CRM, sha256=key_digest("c2c_another"))
        assert refused(text, keys=KeyRing([changed])) == FORGED
        narrowed = evolve(CRM, per_day=1)
        assert SIGNER.read(text, KeyRing([narrowed]).named, NOW)[0] is narrowed

    def test_other_algorithms(self) -> None:
        """One is taken, whatever a token says of itself."""
        assert refused(signed({}, {"alg": "HS512"})) == FORGED
        none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"c2c+jwt","kid":"crm"}').rstrip(b"=")
        body = SIGNER.sign(TOKEN, CRM, NOW).split(".")[1]
        assert refused(f"{none.decode()}.{body}.") == FORGED

    def test_other_types(self) -> None:
        """What is signed with the same secret for something else is no token."""
        assert refused(signed({}, {"typ": "JWT"})) == FORGED
        assert refused(signed({}, {"kid": "nobody"})) == FORGED

    def test_a_secret_alone(self) -> None:
        """Who knows the secret, and not the key's hash, signs nothing."""
        head = {"alg": "HS256", "typ": "c2c+jwt", "kid": "crm"}
        claims = {"aud": "c2c-agent:calls", "jti": "x", "iat": NOW, "exp": NOW + 9}
        assert refused(jwt.encode(head, claims, OctKey.import_key(SECRET))) == FORGED

    @given(st.text(max_size=60) | st.builds("{}.{}.{}".format, st.text(), st.text(), st.text()))
    def test_any_text(self, text: str) -> None:
        """It is refused, and in no other way."""
        assert refused(text) == FORGED

    def test_a_long_text(self) -> None:
        """Nobody's megabyte is looked at."""
        assert refused(SIGNER.sign(TOKEN, CRM, NOW) + "A" * 8192) == FORGED


class TestSecrets:
    def test_rotation(self) -> None:
        """The first signs, and all are read, while there are two."""
        old, both, new = TokenSigner([SECRET]), TokenSigner([NEWER, SECRET]), TokenSigner([NEWER])
        text = old.sign(TOKEN, CRM, NOW)
        assert both.read(text, KEYS.named, NOW)[1] == TOKEN
        newer = both.sign(TOKEN, CRM, NOW)
        assert new.read(newer, KEYS.named, NOW)[1] == TOKEN
        for signer, one in ((new, text), (old, newer)):
            with pytest.raises(TokenError):
                signer.read(one, KEYS.named, NOW)

    def test_change(self) -> None:
        """As a reload does."""
        signer = TokenSigner()
        assert not TokenSigner().can_sign
        with pytest.raises(TokenError):
            signer.read(SIGNER.sign(TOKEN, CRM, NOW), KEYS.named, NOW)
        signer.change([SECRET])
        assert signer.can_sign
        assert signer.read(SIGNER.sign(TOKEN, CRM, NOW), KEYS.named, NOW)[1] == TOKEN


class TestFaults:
    """What a token may not do, whatever its key may."""

    def faults(self, token: Token, first: str, second: str, dial_as: str) -> list[str]:
        """Of a call."""
        job = CallJob(dial_first=first, dial_second=second, dial_as=dial_as, timeout=30)
        return [fault.message for fault in token.faults(job)]

    def test_its_own_call(self) -> None:
        """From its first leg, as its own, to one of its seconds."""
        assert self.faults(TOKEN, "100", "201", "150") == []
        assert self.faults(TOKEN, "100", "301", "150") == []
        bare = Token(id="x", dial_first="100", expires=NOW)
        assert self.faults(bare, "100", "anybody", "100") == []

    def test_other_calls(self) -> None:
        """Each way to be another is named."""
        assert self.faults(TOKEN, "101", "302", "100") == [
            "This token may not dial this dial_first.",
            "This token may not dial this dial_second.",
            "This token may not place calls as this dial_as.",
        ]
        bare = Token(id="x", dial_first="100", expires=NOW)
        assert self.faults(bare, "100", "200", "101") != []
