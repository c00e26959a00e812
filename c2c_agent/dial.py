"""What Asterisk's application Dial leaves behind on the channel that ran it.

Pure. `pbx.asterisk.bridge` reads it over FastAGI; `pbx.asterisk.call_trace` understands it together
with the AMI events.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class DialResult:
    """DIALSTATUS, HANGUPCAUSE, and the SIP response behind it where one is known.

    `first_left`: the dialling channel was hung up while Dial ran. `answered_at`: when the dialled
    one was answered, in epoch seconds of Asterisk's host.
    """

    status: str
    cause: int | None = None
    sip: int | None = None
    first_left: bool = False
    answered_at: float | None = None
