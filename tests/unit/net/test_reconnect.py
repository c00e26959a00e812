"""The pauses of a link that is lost, and which of their reasons are told."""

from __future__ import annotations

import pytest

from c2c_agent.net.reconnect import ReconnectPolicy


def pauses(policy: ReconnectPolicy, count: int, *, refused: bool = False) -> list[float]:
    """So many pauses in a row, each after an attempt that was refused or lost."""
    found = []
    for _ in range(count):
        policy.refused = refused
        found.append(policy.pause())
    return found


@pytest.mark.parametrize("longest", [8.0, 29.0])
def test_after_losses(longest: float) -> None:
    """They double, from a second to the longest."""
    policy = ReconnectPolicy(longest, lambda: 0.0)
    expected = [min(seconds, longest) for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)]
    assert pauses(policy, 6) == expected
    assert pauses(policy, 10_000)[-1] == longest


def test_after_refusals() -> None:
    """The same from ten seconds to nearly a minute, for a person has to see to it."""
    policy = ReconnectPolicy(8.0, lambda: 0.0)
    assert pauses(policy, 5, refused=True) == [10.0, 20.0, 40.0, 59.0, 59.0]


def test_a_refusal_counts_once() -> None:
    """A loss after it is a loss; it goes on where the pauses were."""
    policy = ReconnectPolicy(29.0, lambda: 0.0)
    policy.refused = True
    assert [policy.pause(), policy.pause(), policy.pause()] == [10.0, 2.0, 4.0]


def test_jitter() -> None:
    """It is added to each pause, also to the longest."""
    policy = ReconnectPolicy(8.0, iter([0.5, 1.0, 0.25, 0.0, 1.0]).__next__)
    assert pauses(policy, 5) == [1.5, 3.0, 4.25, 8.0, 9.0]


def test_not_all_at_once() -> None:
    """Without a jitter of the caller's, it is chance, of up to a second."""
    found = {ReconnectPolicy(8.0).pause() for _ in range(100)}
    assert len(found) > 1
    assert all(1.0 <= seconds <= 2.0 for seconds in found)


def test_after_a_success() -> None:
    """It begins with the shortest pause, and the same reason is told again."""
    policy = ReconnectPolicy(8.0, lambda: 0.0)
    pauses(policy, 4)
    assert policy.is_news("no route")
    policy.succeeded()
    assert policy.is_news("no route")
    assert policy.pause() == 1.0


def test_news() -> None:
    """A reason is told when it is another than the last one."""
    policy = ReconnectPolicy(8.0)
    told = [policy.is_news(reason) for reason in ("no route", "no route", "refused", "no route")]
    assert told == [True, False, True, True]
