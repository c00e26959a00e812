"""Tokens: for one person and a few hours, a part of what a key opens.

Pure; time comes in as an argument. A token is a JSON Web Token (RFC 7519) with an HMAC (HS256, and
nothing else is taken). It is signed with a secret that all relays share and with the hash of its
key: so each relay can check it without asking anybody, and where a key ends, or gets another
secret, its tokens end with it. How often a token was used, and that it was revoked, a store has to
know.

A ticket is a token that opens one stream of events, once: for `EventSource`, which can send no
header, so that what it sends stands in a URL.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, JoseError
from joserfc.jwk import OctKey

from c2c_agent.call.job import CallJob
from c2c_agent.errors import C2CError, ErrorCode, Fault
from c2c_agent.policy.keys import Key
from c2c_agent.policy.pattern import Pattern, parse_pattern

#: Seconds for which a token can be valid at most, and one of which nothing is said.
LONGEST: Final = 12 * 3600
USUAL: Final = 3600

#: Seconds for which a ticket is valid.
TICKET_SECONDS: Final = 30

#: What a token is for: so that none of the other kind, or of another program, is taken for one.
_CALLS: Final = "c2c-agent:calls"
_EVENTS: Final = "c2c-agent:events"
_TYPE: Final = "c2c+jwt"
_ALGORITHM: Final = "HS256"

#: Bytes of a token that are looked at.
_LONGEST_TEXT: Final = 8192

#: Seconds by which the clocks of two relays may differ.
_LEEWAY: Final = 5


class TokenError(C2CError):
    """A token that opens nothing; the text says why. `forged`: it was never one of ours."""

    def __init__(self, message: str, *, forged: bool) -> None:
        super().__init__(message)
        self.forged = forged


@frozen
class Token:
    """What a token opens: calls that ring `dial_first` first, and what becomes of them.

    `dial_as` None: the same as `dial_first`. `second` None: whom the key may ring second. `origin`:
    the pages that may use it; None: those of the key. `uses`: how many calls; None: as many as the
    key may place. `expires` in epoch seconds.
    """

    id: str
    dial_first: str
    expires: int
    dial_as: str | None = None
    second: Sequence[Pattern] | None = None
    origin: str | None = None
    uses: int | None = None

    def faults(self, job: CallJob) -> list[Fault]:
        """What this token may not do of `job`, whatever its key may."""
        refused = []
        if job.dial_first != self.dial_first:
            refused.append("dial this dial_first")
        if self.second is not None and not any(
            pattern.matches(job.dial_second) for pattern in self.second
        ):
            refused.append("dial this dial_second")
        if job.dial_as != (self.dial_as or self.dial_first):
            refused.append("place calls as this dial_as")
        return [Fault(ErrorCode.NOT_ALLOWED, f"This token may not {what}.") for what in refused]


@frozen
class Ticket:
    """What a ticket opens: the events of a key, or only of the calls that ring `dial_first`.

    `token` is the id of the token that it was made with, and `until` when that expires: so does
    what the ticket has opened. None: it was made with a key.
    """

    id: str
    expires: int
    dial_first: str | None = None
    origin: str | None = None
    token: str | None = None
    until: int | None = None


class TokenSigner:
    """Signs tokens with the first of its secrets, and reads those of all: so they can be changed.

    Without secrets it signs none and reads none.
    """

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._secrets = secrets

    def change(self, secrets: Sequence[bytes]) -> None:
        """Have these secrets instead, the newest first."""
        self._secrets = secrets

    @property
    def can_sign(self) -> bool:
        """Whether there is a secret."""
        return bool(self._secrets)

    def sign(self, token: Token, key: Key, now: int) -> str:
        """The text of a token of that key."""
        claims: dict[str, object] = {
            "dial_first": token.dial_first,
            "dial_as": token.dial_as,
            "second": None if token.second is None else [each.text for each in token.second],
            "origin": token.origin,
            "uses": token.uses,
        }
        return self._signed(_CALLS, token.id, token.expires, claims, key, now)

    def sign_ticket(self, ticket: Ticket, key: Key, now: int) -> str:
        """The text of a ticket of that key."""
        claims = {
            "dial_first": ticket.dial_first,
            "origin": ticket.origin,
            "token": ticket.token,
            "until": ticket.until,
        }
        return self._signed(_EVENTS, ticket.id, ticket.expires, claims, key, now)

    def read(self, text: str, keys: Callable[[str], Key | None], now: float) -> tuple[Key, Token]:
        """The token of a text, and its key, which `keys` gives by its name; raises TokenError."""
        key, claims = self._read(text, _CALLS, keys, now)
        second = claims.get("second")
        token = Token(
            id=claims["jti"],
            dial_first=claims["dial_first"],
            expires=claims["exp"],
            dial_as=claims.get("dial_as"),
            second=None if second is None else tuple(map(parse_pattern, second)),
            origin=claims.get("origin"),
            uses=claims.get("uses"),
        )
        return key, token

    def read_ticket(
        self, text: str, keys: Callable[[str], Key | None], now: float
    ) -> tuple[Key, Ticket]:
        """The ticket of a text, and its key; raises TokenError."""
        key, claims = self._read(text, _EVENTS, keys, now)
        ticket = Ticket(
            id=claims["jti"],
            expires=claims["exp"],
            dial_first=claims.get("dial_first"),
            origin=claims.get("origin"),
            token=claims.get("token"),
            until=claims.get("until"),
        )
        return key, ticket

    def _signed(
        self,
        audience: str,
        token_id: str,
        expires: int,
        claims: Mapping[str, object],
        key: Key,
        now: int,
    ) -> str:
        given = {name: value for name, value in claims.items() if value is not None}
        whole = {"aud": audience, "jti": token_id, "iat": now, "exp": expires, **given}
        header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": key.name}
        signing = _signing_key(self._secrets[0], key)
        return jwt.encode(header, whole, signing, algorithms=[_ALGORITHM])

    def _read(
        self, text: str, audience: str, keys: Callable[[str], Key | None], now: float
    ) -> tuple[Key, dict[str, Any]]:
        """The claims of a text that was signed here for this audience, and is valid now."""
        for secret in self._secrets if len(text) <= _LONGEST_TEXT else ():
            found: list[Key] = []

            def signing(guest: Any, secret: bytes = secret, found: list[Key] = found) -> OctKey:
                key = keys(str(guest.headers().get("kid")))
                if key is None or guest.headers().get("typ") != _TYPE:
                    raise TokenError(_UNKNOWN, forged=True)
                found.append(key)
                return _signing_key(secret, key)

            try:
                claims = jwt.decode(text, signing, algorithms=[_ALGORITHM]).claims
            except BadSignatureError:
                continue  # perhaps it was signed with another secret
            except (JoseError, ValueError, TypeError) as error:
                raise TokenError(_UNKNOWN, forged=True) from error
            _check(claims, audience, now)
            return found[0], claims
        raise TokenError(_UNKNOWN, forged=True)


_UNKNOWN: Final = "This token is not valid."
_EXPIRED: Final = "This token has expired."


def _check(claims: dict[str, Any], audience: str, now: float) -> None:
    """Whether these claims, which were signed here, are for this and valid now."""
    registry = jwt.JWTClaimsRegistry(
        now=int(now),
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        iat={"essential": True},
        jti={"essential": True},
    )
    try:
        # When it was made is taken less strictly: another relay's clock may be ahead of ours.
        registry.validate({**claims, "iat": claims["iat"] - _LEEWAY})
    except ExpiredTokenError as error:
        raise TokenError(_EXPIRED, forged=False) from error
    except (JoseError, KeyError, TypeError) as error:
        raise TokenError(_UNKNOWN, forged=True) from error
    if claims["exp"] - claims["iat"] > LONGEST:
        raise TokenError(_UNKNOWN, forged=True)


def _signing_key(secret: bytes, key: Key) -> OctKey:
    """What a key's tokens are signed with: nobody can make it from one of the two alone."""
    made = hmac.digest(secret, b"c2c-agent tokens of " + key.sha256.encode(), "sha256")
    return OctKey.import_key(made)
