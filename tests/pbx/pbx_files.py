"""What is put over a test PBX's own /etc/asterisk.

The templates of `etc/`, filled in for one host, and the files that the product ships, unchanged
but for the secret.
"""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Final

from attrs import frozen

_HERE: Final = Path(__file__).parent
_TEMPLATES: Final = _HERE / "etc"
_SHIPPED: Final = _HERE.parents[1] / "asterisk-conf"
_PHONE_TEMPLATE: Final = "pjsip_phone.conf"
_LEFT_OPEN: Final = re.compile(r"@[A-Z_]+@")
_SECRET: Final = re.compile(r"^secret\s*=.*$", re.MULTILINE)

#: Every phone that the PBX knows, and the context in which it may dial.
PHONES: Final = {
    **{str(number): "from-phones" for number in (*range(100, 110), *range(200, 210))},
    "140": "from-phones",
    "150": "limited",
    "155": "from-phones",
    "180": "from-phones",
    "240": "from-phones",
    "280": "from-phones",
    **dict.fromkeys(("190", "191", "192", "247"), "from-phones"),
    **{str(number): "from-phones" for number in (160, 161, 170, 171, 260, 261, 270, 271)},
    "185": "from-phones",
    "246": "from-phones",
    "193": "from-phones",
    "reception": "from-phones",
}

#: Devices with a name: the number by whose place their phones are found.
NAMED: Final = {"reception": "182"}

#: The kind of a phone that is not of the usual one: a template of `pjsip.conf`.
KINDS: Final = {
    **dict.fromkeys(("160", "161", "260", "261"), "hd-phone"),
    **dict.fromkeys(("170", "171", "270", "271"), "direct-phone"),
    "155": "permitted-phone",
    **dict.fromkeys(("190", "191"), "withholding-phone"),
    "247": "trunk",
    **dict.fromkeys(("185", "246"), "heard-phone"),
}

#: Users whose phones say themselves where they are, and prove by a password who they are.
REGISTERING: Final = frozenset({"180", "280", "reception"})
PHONE_PASSWORD: Final = "the-password-of-a-phone"

#: Users whose caller ID is what their phone says.
NAMED_BY_THEIR_PHONE: Final = frozenset({"191", "192"})

#: Users whose names are no names: each would be more arguments, or another number, to Dial.
CALLER_NAMES: Final = {"193": "x&Local/101@from-phones,2,gG(x),${EXTEN}) same"}

#: Users with a second phone, which is found where the phone of this number would be.
SECOND_PHONES: Final = {"140": "141", "240": "241"}


def phone_port(number: str) -> int:
    """Return the UDP port at which the PBX looks for the phone of that number."""
    return 6000 + int(NAMED.get(number, number))


@frozen
class PbxPlace:
    """Where a test PBX lives and whom it trusts: all that differs from host to host."""

    address: str
    phones_address: str
    ami_port: int
    ami_secret: str
    witness_secret: str
    rtp_start: int
    rtp_end: int
    more_modules: tuple[str, ...] = ()


def render(place: PbxPlace) -> dict[str, str]:
    """Return the text of every file, by its path under /etc/asterisk."""
    values = {
        "ADDRESS": place.address,
        "PHONES": place.phones_address,
        "AMI_PORT": str(place.ami_port),
        "WITNESS_SECRET": place.witness_secret,
        "RTP_START": str(place.rtp_start),
        "RTP_END": str(place.rtp_end),
        "MORE_MODULES": "\n".join(f"load = {name}" for name in place.more_modules),
    }
    files = {
        path.name: _fill(path, values)
        for path in _TEMPLATES.glob("*.conf")
        if path.name != _PHONE_TEMPLATE
    }
    files["pjsip_phones.conf"] = "\n".join(
        _fill(
            _TEMPLATES / _PHONE_TEMPLATE,
            values
            | {
                "NUMBER": number,
                "KIND": KINDS.get(number, "phone"),
                "CONTEXT": context,
                "CALLER_ID": _caller_id(number),
                "CONTACTS": _contacts(number, place),
                "AUTH": f"auth = {number}" if number in REGISTERING else "",
                "PASSWORD": PHONE_PASSWORD,
            },
        )
        for number, context in PHONES.items()
    )
    for path in _SHIPPED.rglob("*.conf"):
        files[path.relative_to(_SHIPPED).as_posix()] = path.read_text(encoding="utf-8")
    agent = "manager.d/c2c-agent.conf"
    files[agent] = _SECRET.sub(f"secret = {place.ami_secret}", files[agent])
    return files


def as_archive(files: dict[str, str]) -> bytes:
    """Return the files as a tar archive that everybody may read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _caller_id(number: str) -> str:
    if number in NAMED_BY_THEIR_PHONE:
        return ""
    return f'callerid = "{CALLER_NAMES.get(number, f"Phone {number}")}" <{number}>'


def _contacts(number: str, place: PbxPlace) -> str:
    """Return a line for each phone of a user, by its place."""
    if number in REGISTERING:
        return "max_contacts = 5"
    ports = [phone_port(phone) for phone in (number, SECOND_PHONES.get(number)) if phone]
    return "\n".join(f"contact = sip:{number}@{place.phones_address}:{port}" for port in ports)


def _fill(path: Path, values: dict[str, str]) -> str:
    """Return the template's text with each @NAME@ replaced; one that is unknown is an error."""
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    if left := _LEFT_OPEN.search(text):
        raise ValueError(f"{path}: no value for {left[0]}")
    return text
