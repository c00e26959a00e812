"""What is configured for one back end, understood and checked. Pure values.

`reading` makes a Program of a section of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import field, frozen

from c2c_agent.net.tls import Trust
from c2c_agent.pbx.other.answer import Answer, Pointer
from c2c_agent.pbx.other.request import Request
from c2c_agent.pbx.other.rules import Conditions, ErrorText, LegEnd, Look
from c2c_agent.pbx.other.template import Template

#: Answers that say that the request was not carried out, unless the configuration has it otherwise:
#: all but the server's own failures, a timeout, "too early" and "too many".
_NOT_DONE: Final = tuple(
    range(first, last + 1) for first, last in ((200, 407), (409, 424), (426, 428), (430, 499))
)
_DONE: Final = (range(200, 300),)


class AuthKind(Enum):
    """How a back end knows us."""

    NONE = "none"
    BASIC = "basic"
    DIGEST = "digest"
    BEARER = "bearer"
    SIGNATURE = "signature"


@frozen
class Auth:
    """How a back end knows us, and by which texts."""

    kind: AuthKind = AuthKind.NONE
    texts: Mapping[str, Template] = field(factory=dict)  # username, password, token or secret


@frozen
class Step:
    """A request whose answer must meet `success`; what is to be kept of it for later ones.

    `compute`: names, what they are made with (md5, sha256, base64) and of; before it is sent.
    """

    request: Request
    success: Conditions = field(factory=lambda: Conditions(status=_DONE))
    save: Mapping[str, Pointer] = field(factory=dict)
    compute: Mapping[str, tuple[str, Template]] = field(factory=dict)


@frozen
class Login:
    """What makes the `login` values.

    They hold for `lifetime` seconds, or until an answer says `again_when`.
    """

    steps: tuple[Step, ...]
    lifetime: float = 300.0
    again_when: tuple[Conditions, ...] = ()


class Result(Enum):
    """What an answer to the order says."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    REFUSED = "refused"
    UNCLEAR = "unclear"  # it may have been carried out


@frozen
class Place:
    """The one request that makes the call, and how its answer is understood.

    `blocks`: the answer comes when the first phone was answered, not when the order was taken.
    """

    request: Request
    success: Conditions
    failed: tuple[tuple[Conditions, LegEnd], ...] = ()
    refused: tuple[Conditions, ...] = (Conditions(status=_NOT_DONE),)
    error_message: ErrorText = field(factory=ErrorText)
    call_id: Pointer | None = None
    save: Mapping[str, Pointer] = field(factory=dict)
    blocks: bool = False

    def judge(self, answer: Answer, known: Mapping[str, str]) -> tuple[Result, LegEnd | None]:
        """What the answer says; with FAILED, how the first leg ended."""
        if self.success.hold(answer, known):
            return Result.ACCEPTED, None
        for when, tell in self.failed:
            if when.hold(answer, known):
                return Result.FAILED, tell
        if any(when.hold(answer, known) for when in self.refused):
            return Result.REFUSED, None
        return Result.UNCLEAR, None


@frozen
class StatusRequest:
    """A question, and how its answer is understood."""

    request: Request
    look: Look


@frozen
class Status:
    """What is asked of a call `every` so many seconds, and while its order is still open."""

    requests: tuple[StatusRequest, ...]
    every: float = 1.0
    while_placing: tuple[StatusRequest, ...] = ()


@frozen
class Timeouts:
    """Seconds to connect, and for an answer; a blocking order has the ringing besides."""

    connect: float = 5.0
    answer: float = 10.0


@frozen
class Program:
    """All that is configured for one back end.

    `secret_files`: the files of the secrets by name. `dial_as`: what stands for whom there; None:
    everybody for himself. `cancels_late`: where the back end is told no timeout, a call that rings
    for too long is cancelled from here.
    """

    base_url: str
    place: Place
    insecure_http: bool = False
    trust: Trust = field(factory=Trust)
    auth: Auth = field(factory=Auth)
    secret_files: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, Template] = field(factory=dict)
    login: Login | None = None
    dial_as: Mapping[str, str] | None = None
    status: Status | None = None
    cancel: tuple[Request, ...] = ()
    cleanup: tuple[Request, ...] = ()
    check: Step | None = None
    timeouts: Timeouts = field(factory=Timeouts)
    cancels_late: bool = False
    max_pending: int = 20

    @property
    def own_id(self) -> bool:
        """Whether a call's id is the request's, and so known before the answer."""
        return self.place.call_id is None
