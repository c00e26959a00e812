"""The three ways in which Asterisks are laid out, and what a setup would make of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.setup import plan as planning
from c2c_agent.setup.files import shipped
from c2c_agent.setup.plan import (
    Place,
    Plan,
    Wishes,
)

ETC = "/etc/asterisk"


YML = "/etc/c2c-agent/c2c-agent.yml"


SECRET_FILE = "/etc/c2c-agent/ami.secret"


PLACE = Place(ETC, YML, SECRET_FILE)


WISHES = Wishes([parse_pattern("_1XX"), parse_pattern("200")], key="c2c_key", ami_secret="c2c_ami")


GENERAL = "[general]\nenabled = yes\nport = 5038\nbindaddr = 127.0.0.1\n"


PLAIN = {"manager.conf": GENERAL, "extensions.conf": "[general]\nstatic=yes\n"}


DEBIAN = {**PLAIN, "manager.conf": GENERAL + '\n#include "manager.d/*.conf"\n'}


FREEPBX = {
    "manager.conf": GENERAL + "#include manager_additional.conf\n#include manager_custom.conf\n",
    "manager_custom.conf": "",
    "extensions.conf": "#include extensions_custom.conf\n",
    "extensions_custom.conf": "[from-internal-custom]\nexten => 1,1,NoOp()",
    "extensions_additional.conf": "; generated\n",
}


LAYOUTS = pytest.mark.parametrize("layout", [PLAIN, DEBIAN, FREEPBX], ids=["plain", "debian", "fp"])


def found(layout: Mapping[str, str], **others: str) -> dict[str, str]:
    """A layout's files by their paths; `yml` and `secret` are the agent's own."""
    files = {f"{ETC}/{name}": text for name, text in layout.items()}
    own = {"yml": YML, "secret": SECRET_FILE}
    return files | {own[name]: text for name, text in others.items()}


def plan(files: Mapping[str, str], wishes: Wishes = WISHES, place: Place = PLACE) -> Plan:
    """The plan for these files."""
    return planning.plan(place, files, shipped(), wishes)


def after(files: Mapping[str, str]) -> dict[str, str]:
    """The files as the plan makes them."""
    return {**files, **{change.path: change.after for change in plan(files).changes}}


def changed(files: Mapping[str, str]) -> list[str]:
    """The paths that the plan changes, in order."""
    return [change.path for change in plan(files).changes]
