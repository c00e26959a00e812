"""How long a link waits before it tries to connect again, and which reason is worth a line.

A connection that was lost is tried again soon, and then less and less often. A refusal (a wrong
password, a right that is missing) is for a person to see to, so it is tried again more slowly.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from twisted.application.internet import backoffPolicy

#: The pause doubles with each attempt that comes to nothing.
_FACTOR: Final = 2.0

#: Half the first pause after a loss, in seconds: it has doubled once by then.
_LOST: Final = 0.5

#: The same after a refusal, and the longest pause then; both without jitter.
_REFUSED: Final = 5.0
_LONGEST_REFUSED: Final = 59.0


class ReconnectPolicy:
    """The pauses of one link.

    After a loss they grow from 1 to `longest` seconds, after a refusal from 10 to 59. `jitter`
    gives numbers from 0 to 1. As many seconds are added to each pause, so that not all who lost a
    server come back to it at once.

    It counts by itself: ClientService's count begins anew with each connection, also with those
    that come to nothing.
    """

    def __init__(self, longest: float, jitter: Callable[[], float] = random.random) -> None:
        self._after_loss = backoffPolicy(_LOST, longest, _FACTOR, jitter)
        self._after_refusal = backoffPolicy(_REFUSED, _LONGEST_REFUSED, _FACTOR, jitter)
        self._attempts = 0  # since the link was up
        self._told = ""  # the reason that was given last
        #: Whether the attempt that is under way was refused; the next pause forgets it.
        self.refused = False

    def succeeded(self) -> None:
        """The link is up: the next pause is the shortest, and its reason is news."""
        self._attempts = 0
        self._told = ""

    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        self._attempts += 1
        refused, self.refused = self.refused, False
        return (self._after_refusal if refused else self._after_loss)(self._attempts)

    def is_news(self, reason: str) -> bool:
        """Whether this is another reason than the one before; asked once for each pause."""
        news, self._told = reason != self._told, reason
        return news
