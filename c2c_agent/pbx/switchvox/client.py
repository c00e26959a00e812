"""The Extend API of one Switchvox, as questions that are asked over HTTP.

How the PBX wants to know us (Digest or Basic) is found with a request that has no credentials in
it, and whether it takes them with a harmless one; nothing else is sent before. For an address that
fails often is blocked there: after two refusals in a row nothing is sent for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from twisted.internet.defer import DeferredLock

from c2c_agent.errors import C2CError
from c2c_agent.net.fresh_request import HttpAnswer, NoAnswerError, NotConnectedError, Send
from c2c_agent.net.http_auth import (
    Basic,
    Credentials,
    Digest,
    NoSchemeError,
    Scheme,
    authorization,
    choose,
)
from c2c_agent.pbx.switchvox.extend_api import (
    PATH,
    Failure,
    Nonsense,
    Result,
    answer,
    request,
)

#: Seconds that the PBX has for an answer, where it does not ring a phone meanwhile.
USUAL: Final = 10.0

#: Refusals in a row after which nothing is sent for a while; and how long, at first and at most.
_PATIENCE: Final = 2
_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 900.0

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_REFUSED: Final = frozenset({401, 403})
_NOT_THERE: Final = frozenset({404, 405})

Wanted: TypeAlias = Literal["auto", "basic", "digest"]


class ExtendError(C2CError):
    """A question without an answer of the PBX."""


class UnsentError(ExtendError):
    """The request was not carried out: it never left, or was turned away at the door."""


class CredentialsRefusedError(UnsentError):
    """The PBX does not take our name and password, or not from here."""


class NoExtendApiError(ExtendError):
    """There is a server, but it knows no Extend API."""


class UnansweredError(ExtendError):
    """The request has left, and nobody knows whether it was carried out."""


class ExtendClient:
    """Asks one Switchvox. `seconds` is the clock, `new_word` makes a random word."""

    def __init__(
        self,
        send: Send,
        credentials: Credentials,
        *,
        proof: str,
        wanted: Wanted,
        seconds: Callable[[], float],
        new_word: Callable[[], str],
    ) -> None:
        """`proof`: the harmless method that this login may call."""
        self._request = send
        self._credentials = credentials
        self.proof = proof
        self._wanted: Wanted = wanted
        self._seconds = seconds
        self._new_word = new_word
        self._proving = DeferredLock()
        self._scheme: Scheme | None = None
        self._uses = 0  # of the scheme's nonce
        self._refusals = 0  # in a row
        self._closed_until = 0.0
        self.challenges: tuple[str, ...] = ()  # by which it asked who we are
        self.proven: Result | Failure | None = None  # what the harmless request was answered
        self.refused: HttpAnswer | None = None  # by which it last turned our login away

    def closed(self) -> str | None:
        """Why nothing is sent at present; None: it is."""
        left = self._closed_until - self._seconds()
        if left <= 0:
            return None
        return f"The PBX refuses the agent's login; the next attempt is in {left:.0f} s."

    @property
    def scheme_name(self) -> str:
        """How the PBX is told who asks, in words."""
        if self._scheme is None:
            return "nothing yet"
        if isinstance(self._scheme, Basic):
            return "Basic"
        return "Digest with qop" if self._scheme.qop else "Digest without qop"

    async def ask(
        self,
        method: str,
        parameters: Mapping[str, object],
        *,
        seconds: float = USUAL,
        transaction_id: str = "",
    ) -> Result | Failure:
        """Ask once. Raises ExtendError."""
        if self.proven is None:
            await self.prove()
        return await self._exchange(method, parameters, seconds, transaction_id)

    async def prove(self) -> Result | Failure:
        """Log in with the harmless request, and give its answer. Raises ExtendError."""
        await self._proving.acquire()
        try:
            if self.proven is None:
                closed = self.closed()
                if closed is not None:
                    raise CredentialsRefusedError(closed)
                if self._scheme is None:
                    await self._find_scheme()
                self.proven = await self._exchange(self.proof, {}, USUAL, "")
        except UnansweredError as error:
            raise UnsentError(str(error)) from error  # of what was asked for nothing has left
        else:
            return self.proven
        finally:
            self._proving.release()

    async def _find_scheme(self) -> None:
        if self._wanted == "basic":
            self._take(Basic())
            return
        got = await self._send("{}", {}, USUAL)
        if got.status == _UNAUTHORIZED:
            self.challenges = got.challenges
            try:
                self._take(choose(got.challenges, self._wanted))
            except NoSchemeError as error:
                raise UnsentError(str(error)) from error
        elif got.status == _OK:
            raise UnsentError("the PBX asks for no login")
        else:
            self._judge(got)

    async def _exchange(
        self, method: str, parameters: Mapping[str, object], seconds: float, transaction_id: str
    ) -> Result | Failure:
        body = request(method, parameters, transaction_id)
        scheme, uses = self._scheme, self._uses
        got = await self._send(body, self._credentials_header(), seconds)
        if got.status == _UNAUTHORIZED and self._is_to_be_shown_again(got, scheme, uses):
            got = await self._send(body, self._credentials_header(), seconds)
        return self._judge(got)

    async def _send(self, body: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        usual = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "c2c-agent",
        }
        try:
            return await self._request("POST", PATH, {**usual, **headers}, body, seconds)
        except NotConnectedError as error:
            raise UnsentError(str(error)) from error
        except NoAnswerError as error:
            raise UnansweredError(str(error)) from error

    def _take(self, scheme: Scheme) -> None:
        self._scheme, self._uses = scheme, 0

    def _credentials_header(self) -> Mapping[str, str]:
        if self._scheme is None:
            return {}
        self._uses += 1
        value = authorization(
            self._scheme,
            self._credentials,
            method="POST",
            uri=PATH,
            count=self._uses,
            cnonce=self._new_word(),
        )
        return {"Authorization": value}

    def _is_to_be_shown_again(self, got: HttpAnswer, sent: Scheme | None, uses: int) -> bool:
        """Whether only a nonce was too old, or another scheme is wanted now.

        What was answered so was not carried out.
        """
        try:
            wanted = choose(got.challenges, self._wanted)
        except NoSchemeError:
            return False
        if isinstance(wanted, Basic):
            again = not isinstance(sent, Basic)
        else:
            again = wanted.stale or uses > 0 or not isinstance(sent, Digest)
        if again:
            self._take(wanted)
        return again

    def _judge(self, got: HttpAnswer) -> Result | Failure:
        """The PBX's answer; raises what it is instead."""
        if got.status in _REFUSED:
            self.refused = got
            self._was_refused()
            message = f"the PBX refuses the agent's login, or its address (HTTP {got.status})"
            raise CredentialsRefusedError(message)
        if got.status in _NOT_THERE:
            raise NoExtendApiError(f"there is no Extend API at this address (HTTP {got.status})")
        if got.status != _OK:
            raise UnansweredError(f"the PBX answers HTTP {got.status}")
        said = answer(got.body)
        if isinstance(said, Nonsense):
            raise UnansweredError(said.reason)
        self._refusals = 0
        return said

    def _was_refused(self) -> None:
        self.proven = None
        self._scheme = None
        self._refusals += 1
        if self._refusals >= _PATIENCE:
            pause = _PAUSE * 2 ** min(self._refusals - _PATIENCE, 10)
            self._closed_until = self._seconds() + min(pause, _LONGEST_PAUSE)
