"""What every contestant orders of Asterisk: the channel variables of the agent's own Originate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: As long as a secret of the agent's; nobody here asks for it.
_SECRET: Final = "0123456789abcdef" * 2


def second_channel(second: str) -> str:
    """What is dialled for the second leg."""
    return f"Local/{second}@from-phones"


def variables(call_id: str, first: str, second: str, agi: str) -> Mapping[str, str]:
    """Of a call whose FastAGI is at `agi` (host:port), as 100 places it.

    They are those of c2c_agent.pbx.asterisk.originate, lest Asterisk have other
    work with them.
    """
    return {
        "__C2C_REQUEST_ID": call_id,
        "__C2C_FIRST": first,
        "__C2C_SECOND": second,
        "__C2C_DIAL_AS": "100",
        "__C2C_CONTEXT": "from-phones",
        "__C2C_TIMEOUT": "10",
        "_C2C_AGI": f"agi://{agi}/c2c",
        "_C2C_SECOND_CHANNEL": second_channel(second),
        "_C2C_MAX_DURATION": "14400",
        "_C2C_SECRET": _SECRET,
        "C2C_TAKEN": "0",
    }


def dial(second: str, channel: str) -> str:
    """The command that dials the second leg, for the channel of the first that answered."""
    options = f"giS(14400)U(c2c-answered^{channel})"
    return f'EXEC "Dial" "{second_channel(second)},10,{options}"\n'
