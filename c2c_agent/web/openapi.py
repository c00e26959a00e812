"""The description of the HTTP API, for programs: OpenAPI 3.1, as it is served."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

from c2c_agent import __version__
from c2c_agent.report.event import Json

# The one in C takes a sixth of the time; not every build of PyYAML has it.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def description() -> Json:
    """The description, with the version of this program. Not to be changed."""
    text = files("c2c_agent.web").joinpath("openapi.yml").read_text(encoding="utf-8")
    described: Json = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    described["info"]["version"] = __version__
    return described
