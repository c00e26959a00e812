"""An Asterisk with ARI, and the section by which the agent knows it as any PBX over HTTP.

The section is the example that is shipped, with this host's address and password.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from tests.pbx.hosts import AsteriskHost

PORT: Final = 8088
PASSWORD: Final = "the-password-of-ari"

_EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "other"
_MODULES: Final = (
    "res_http_websocket",
    "res_stasis",
    "res_stasis_answer",
    "res_stasis_recording",
    "res_stasis_playback",
    "res_stasis_snoop",
    "res_ari",
    "res_ari_model",
    "res_ari_asterisk",
    "res_ari_channels",
)

#: What only this version has, and needs for ARI.
_MORE_MODULES: Final = {"16": (), "22": ("res_websocket_client",)}


def give_ari(host: AsteriskHost) -> None:
    """Have an Asterisk that is not started yet speak ARI."""
    files = host.files
    files["http.conf"] = f"[general]\nenabled = yes\nbindaddr = {host.address}\nbindport = {PORT}\n"
    files["ari.conf"] = (
        f"[general]\nenabled = yes\n[c2c-agent]\ntype = user\npassword = {PASSWORD}\n"
    )
    modules = (*_MODULES[:1], *_MORE_MODULES[host.version], *_MODULES[1:])
    files["modules.conf"] += "".join(f"load = {name}.so\n" for name in modules)
    dialplan = (_EXAMPLES / "asterisk-ari.extensions.conf").read_text(encoding="utf-8")
    files["extensions.conf"] += f"\n{dialplan}\n[phones]\ninclude => from-phones\n"


def section(host: AsteriskHost, directory: Path, password: str = PASSWORD) -> dict[str, Any]:
    """The section `other` for it; its password is put into that directory."""
    file = directory / "ari.password"
    file.write_text(password + "\n", encoding="utf-8")
    file.chmod(0o640)
    example = yaml.safe_load((_EXAMPLES / "asterisk-ari.yml").read_text(encoding="utf-8"))
    return {
        **example["other"],
        "base_url": f"http://{host.address}:{PORT}",
        "secrets": {"password": {"file": str(file)}},
    }
