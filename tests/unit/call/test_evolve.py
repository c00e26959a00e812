"""Copies of what is known of a call, with changes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from attrs import field, frozen

from c2c_agent.call.call import CallState
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.evolve import evolve
from tests.playbook import a_call


@frozen
class _Named:
    """A class with a field that is private, and one that is derived."""

    first: int
    _hidden: str = "hidden"
    sum: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sum", self.first + len(self._hidden))


class TestEvolve:
    @pytest.mark.parametrize(
        ("instance", "changes"),
        [
            (a_call(), {"state": CallState.ENDED, "ended_at": 1060.0}),
            (a_call(), {}),
            (LegEvidence(), {"cause": 16}),
            (_Named(1), {"hidden": "more", "first": 2}),
        ],
    )
    def test_as_attrs_does_it(self, instance: Any, changes: dict[str, Any]) -> None:
        """The same copy, and what was is as it was."""
        before = attrs.evolve(instance)
        changed: Any = evolve(instance, **changes)
        assert changed == attrs.evolve(instance, **changes)
        assert type(changed) is type(instance)
        assert instance == before

    def test_a_field_that_there_is_not(self) -> None:
        """Nothing is dropped unseen."""
        with pytest.raises(KeyError, match="fourth"):
            evolve(_Named(1), fourth=1)  # type: ignore[call-arg]
