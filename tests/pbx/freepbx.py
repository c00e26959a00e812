"""An agent beside the corner of a FreePBX that the test PBX has (`etc/extensions_freepbx.conf`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.pbx.agents import AgentProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pbx.hosts import AsteriskHost

#: Everybody's context there.
INTERNAL: Final = "freepbx-internal"

#: The second leg as `setup asterisk --no-voicemail` has it dialled.
NO_VOICEMAIL: Final = [{"match": "_X.", "channel": "Local/{number}@c2c-no-voicemail"}]


def agent_at_freepbx(
    asterisk: AsteriskHost, directory: Path, *, no_voicemail: bool = False, **more: object
) -> AgentProcess:
    """An agent for which the users' context is that of the corner, with more settings."""
    changes: dict[str, object] = {
        "freepbx": True,
        "dial_as": {"contexts": {"100": INTERNAL}},
        **({"second_leg": NO_VOICEMAIL} if no_voicemail else {}),
        **more,
    }
    return AgentProcess(asterisk, directory, asterisk_changes=changes)
