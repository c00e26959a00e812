"""Which PBX a call goes to: the request names the kind, and the key says which of that kind.

Pure. An agent without named PBXs has at most one of each kind, which is called like the kind. At a
relay the key's name is for the agent, which has the PBX and decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import OPERATOR, Key


class PbxNames:
    """The PBXs that are there: the kind of each, by its name.

    `relayed` are the kinds whose calls a relay gives to agents. `for_jobs` are the PBXs that a job
    from the broker may name, beside that which its key means.
    """

    def __init__(
        self,
        kinds: Mapping[str, str],
        *,
        relayed: Collection[str] = (),
        for_jobs: Collection[str] = (),
    ) -> None:
        self._kinds = kinds
        self._relayed = relayed
        self._for_jobs = for_jobs

    def of(self, key: Key, kind: str) -> str | Fault:
        """The name of the PBX of this kind that the key means, or why it may use none.

        The key of the agent's own host may use every kind.
        """
        there, named = self._of_kind(kind), key.pbx.get(kind)
        if key.pbx and named is None and key.name != OPERATOR:
            message = f"This key may place no calls through a PBX of the kind {kind}."
            return Fault(ErrorCode.NOT_ALLOWED, message)
        if self.at_agent(key, kind) is not None:
            return kind
        if named is not None:
            # One that the configuration has, and not yet the agent, waits for a restart.
            message = f"The {kind} PBX of this key is not there."
            return named if named in there else Fault(ErrorCode.UNSUPPORTED_PBX, message)
        if not there:
            return Fault(ErrorCode.UNSUPPORTED_PBX, f"No {kind} PBX is configured here.")
        message = f"There are several {kind} PBXs here, and this key names none."
        return self.default(kind) or Fault(ErrorCode.UNSUPPORTED_PBX, message)

    def of_job(self, key: Key, kind: str, name: str) -> str | Fault:
        """The PBX of this kind that a job from the broker names, or why it may not be used.

        `key` is that to whose policy jobs are held.
        """
        meant = self.of(key, kind)
        if isinstance(meant, Fault) and meant.code is ErrorCode.NOT_ALLOWED:
            return meant
        if name not in self._of_kind(kind):
            message = f"The {kind} PBX {name} of this job is not there."
            return Fault(ErrorCode.UNSUPPORTED_PBX, message)
        if name != meant and name not in self._for_jobs:
            return Fault(ErrorCode.NOT_ALLOWED, f"No job may be placed on the {kind} PBX {name}.")
        return name

    def at_agent(self, key: Key, kind: str) -> str | None:
        """The PBX of this kind that the key means at the agent to which a relay gives its calls.

        None: it names none there. A name that is the kind's own names none either.
        """
        named = key.pbx.get(kind)
        is_here = named == kind or named in self._of_kind(kind)
        return named if kind in self._relayed and not is_here else None

    def default(self, kind: str) -> str | None:
        """The PBX of a key that names none: that of the kind's own section, or the only one."""
        there = self._of_kind(kind)
        if kind in there:
            return kind
        return there[0] if len(there) == 1 else None

    def _of_kind(self, kind: str) -> list[str]:
        return [name for name, its in self._kinds.items() if its == kind]
