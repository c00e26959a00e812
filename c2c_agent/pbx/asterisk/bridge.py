"""The conversations that the agent has with a channel over FastAGI.

`bridge` dials the second leg of a call and reads what became of it; `refuse` and `acknowledge` end
a session in which nothing is to be dialled. Each ends with the variable C2C_DONE set on the
channel, by which the dialplan knows that the agent has seen it all (AGISTATUS does not tell: it is
SUCCESS also where the agent died).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import (
    SessionLost,
    exec_,
    get_full_variable,
    get_variable,
    set_variable,
)
from c2c_agent.call.evidence import MOST_TRIED
from c2c_agent.config.pbx import AgiConfig
from c2c_agent.net.listening import listening
from c2c_agent.pbx.asterisk.evidence import DialResult
from c2c_agent.pbx.asterisk.last_word import refused_by

#: The path in the dialplan's `AGI(agi://…/c2c)`.
SCRIPT: Final = "c2c"

#: Hangup cause by which `c2c-agent check` knows that its test call came round to the agent. 27 is
#: "destination out of order"; no part of the way gives it by itself.
CHECK_CAUSE: Final = 27

_DONE: Final = set_variable("C2C_DONE", "1")
_READ_SECRET: Final = get_variable("C2C_SECRET")
_READ_RESULT: Final = get_full_variable(
    "${DIALSTATUS},${HANGUPCAUSE},${SHARED(C2C_ANSWERED)}${C2C_ANSWERED}"
)
_READ_LEGS: Final = get_full_variable("${HANGUPCAUSE_KEYS()}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}")
_PJSIP: Final = re.compile(r"PJSIP/[\w@.-]+")
_SIP: Final = re.compile(r"SIP ([1-6][0-9]{2})\b")


def agi_url(config: AgiConfig) -> str:
    """Under which URL Asterisk, on the same host, reaches the FastAGI listener."""
    return config.url or f"agi://{listening(config.listen).address}/{SCRIPT}"


async def secret_of(channel: AgiChannel) -> str:
    """What the channel knows of the call that it is part of."""
    return (await channel.command(_READ_SECRET)).value or ""


async def bridge(
    channel: AgiChannel,
    target: str,
    *,
    ring_seconds: int,
    max_duration: int,
    in_own_language: bool = False,
    wants_refusals: Callable[[], bool],
    keep: Callable[[DialResult], Awaitable[bool]],
) -> bool:
    """Dial `target`, ringing for `ring_seconds` and talking for `max_duration` at the most.

    Options of Dial: `g` lets the first leg go on when the second ends, so that the result can be
    read; `i` keeps a phone from forwarding the call to a number that nobody has allowed; `S` ends
    the talk, unless what was dialled leaves it to the two; `U` notes on our channel when it began,
    for a result that outlives the agent. With `in_own_language` also `b`, which hands the language
    on that this channel has of the dial_as user's device: Dial does not.
    `wants_refusals`: whether, of a leg that was answered, it is asked by what responses phones have
    refused before.
    `keep` makes the result durable. Only where it could is the dialplan told that it need not leave
    one of its own: an agent that crashes then finds either. Gives whether the dialplan was told.
    Raises SessionLost where the session ended before the result was read.
    """
    language = "b(c2c-language^s^1)" if in_own_language else ""
    options = f"giS({max_duration}){language}U(c2c-answered^{channel.environment.channel})"
    dial = exec_("Dial", f"{target},{ring_seconds},{options}")
    reply = await channel.command(dial, patience=None)
    first_hung_up = reply.result == "-1" or channel.hung_up
    told = (await channel.command(_READ_RESULT)).value or ""
    status, cause, answered = [*told.split(","), "", ""][:3]
    asks = wants_refusals() if status == "ANSWER" else status != "CANCEL"
    own = channel.environment.channel
    keys = await _channels_with_causes(channel) if asks else []
    result = DialResult(
        status=status,
        cause=int(cause) if cause.isdecimal() else None,
        sips=await _sip_responses(channel, keys),
        refused_by=refused_by(own, keys) if status and status != "ANSWER" else None,
        first_hung_up=first_hung_up,
        answered_at=float(answered) if _SECONDS.fullmatch(answered) else None,
    )
    if await keep(result):
        # Nothing can be missing any more, also where the session ends before it has been said.
        with suppress(SessionLost):
            await channel.command(_DONE)
            return True
    return False


async def _channels_with_causes(channel: AgiChannel) -> list[str]:
    """The channels of which Asterisk has a cause: those of the second leg, and ours.

    In no fixed order (`hangupcause_keys_read` in funcs/func_hangupcause.c goes through a hash
    table).
    """
    return ((await channel.command(_READ_LEGS)).value or "").split(",")


async def _sip_responses(channel: AgiChannel, keys: Collection[str]) -> dict[str, int]:
    """The last SIP response of each of these channels but ours, by the channel's name."""
    found = {}
    others = [key for key in keys if key != channel.environment.channel and _PJSIP.fullmatch(key)]
    for key in others[:MOST_TRIED]:
        reply = await channel.command(get_full_variable(f"${{HANGUPCAUSE({key},tech)}}"))
        match = _SIP.match(reply.value or "")
        if match is not None:
            found[key] = int(match[1])
    return found


async def refuse(channel: AgiChannel) -> None:
    """Have the dialplan hang up and dial nothing: the call is over, or not one of ours."""
    await channel.command(_DONE)


async def acknowledge(channel: AgiChannel) -> None:
    """Answer a test call: it has come all the way round."""
    await channel.command(_DONE)
    await channel.command(exec_("Hangup", str(CHECK_CAUSE)))
