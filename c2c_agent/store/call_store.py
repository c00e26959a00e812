"""The seam to a store: what the calls in progress, and what asks for them, need of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from c2c_agent.call.call import Call
from c2c_agent.call.outcome import Outcome
from c2c_agent.config.sections import CallsConfig
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission, LimitReached
from c2c_agent.report.delivery import Report


@frozen
class Wanted:
    """Which calls are wanted; None: whatever it is.

    Those that came in `since` and before `until`, in epoch seconds; that have this `number` as one
    of their legs, or ring `first` first; with this `outcome`; that come `after` a call in the order
    from the newest to the oldest, which is said by its time and its request_id.
    """

    since: float | None = None
    until: float | None = None
    number: str | None = None
    first: str | None = None
    outcome: Outcome | None = None
    after: tuple[float, str] | None = None


EVERY: Final = Wanted()


class CallStore(Protocol):
    """What the dispatcher needs of `store.Store`."""

    def save(
        self, call: Call, reports: Sequence[Report] = (), *, patient: bool = False
    ) -> Deferred[None]:
        """Keep a call, and the reports of its change; fires when it is durable.

        `patient`: nothing waits for that, so it may be written with others a moment later.
        """

    def hurry(self) -> None:
        """Something waits now for what was saved patiently."""

    @property
    def shared(self) -> bool:
        """Whether other processes use it, too: then it counts calls."""

    @property
    def server_id(self) -> str:
        """Of the process whose calls these are; '' where no other uses it."""

    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:
        """Take a request for this process, unless it was made before."""

    def find(self, request_id: str) -> Deferred[Call | None]:
        """The call of a request."""

    def recent(
        self, limit: int, key_name: str | None = None, wanted: Wanted = EVERY
    ) -> Deferred[list[Call]]:
        """The latest calls that are wanted, newest first: of one key, or of all."""


class TokenStore(Protocol):
    """What is needed of `tokens_table.TokensTable`: of a token, its id and the name of its key."""

    def use(self, key_name: str, token: str, uses: int, expires_at: float) -> Deferred[bool]:
        """Use a token that can be used so often, once more; False: it cannot."""

    def revoke(self, key_name: str, token: str, expires_at: float) -> Deferred[None]:
        """End a token, whether it is known or not."""

    def is_revoked(self, key_name: str, token: str) -> Deferred[bool]:
        """Whether somebody has ended it."""


@frozen
class Claim:
    """What became of the wish to have a request: the call that was there `earlier`, or none.

    `repeated`: it was made under another id, between the same two numbers, a moment ago.
    `admitted`: what the limits say, where the store counts calls; None: it does not, or the call
    could not be placed anyway.
    """

    earlier: Call | None = None
    admitted: Admission | LimitReached | None = None
    repeated: bool = False


@frozen
class KeyRow:
    """A row of the table `keys`; `settings` is what its JSON says."""

    name: str
    sha256: str
    settings: object
