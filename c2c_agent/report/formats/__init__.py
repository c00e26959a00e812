"""In which words a webhook tells of an event. Pure.

An event is stored in our own words, in which it is sent where nothing else is said. Another format
puts it into the receiver's words when it is sent: `zammad` speaks that program's telephony
interface. A format is a module with one function, from an event to what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from c2c_agent.config.sections import FormatName
from c2c_agent.report.formats import zammad

#: From the JSON of an event to the JSON that is sent; None: nothing is.
Format: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]

#: All but the one that leaves an event as it is.
FORMATS: Final[Mapping[FormatName, Format]] = {
    "zammad": zammad.told,
}
