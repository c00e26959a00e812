"""The demonstration: a PBX, two phones, the agent, and a call by curl.

`scripts/demo` runs this. The PBX is a real Asterisk with real SIP phones, over AMI or over ARI
(`--pbx other`), or the double of a Switchvox (`--pbx switchvox`). `--once` stops by itself and
tells by the exit status whether the call connected.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from c2c_agent.call.job import PBX_KINDS
from c2c_agent.policy.keys import key_digest
from tests.certificates import Authority
from tests.fake_switchvox import Story
from tests.pbx.agents import AgentProcess
from tests.pbx.ari import PORT, give_ari, section
from tests.pbx.hosts import AsteriskHost
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import Behaviour
from tests.switchvox.server import serve

#: A place of its own, so that the demonstration and the tests can run side by side.
_ADDRESS: Final = "127.0.0.99"
_KEY: Final = "demo-key"
_FIRST: Final = Behaviour(ring_seconds=2.0)
_SECOND: Final = Behaviour(ring_seconds=3.0, talk_seconds=5.0)


def main() -> int:
    """Run the demonstration; the exit status."""
    options = ArgumentParser()
    options.add_argument("--once", action="store_true")
    options.add_argument("--pbx", choices=PBX_KINDS, default="asterisk")
    options.add_argument("--address", default=_ADDRESS, help="of the agent, and of its Asterisk")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as running:
            return _run(running, chosen.pbx, chosen.address, once=chosen.once)
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.")  # noqa: T201 - it talks to a person
        return 130


def _say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 - it talks to a person


def _run(running: ExitStack, pbx: str, address: str, *, once: bool) -> int:
    directory = Path(running.enter_context(TemporaryDirectory(prefix="c2c-agent-demo-")))
    begin = time.monotonic()
    host = AsteriskHost("22", address)
    keys = [{"name": "demo", "sha256": key_digest(_KEY), "allow": ["_[12]XX"]}]
    changes = _BEGIN[pbx](running, host, directory) | {"keys": keys}
    agent = AgentProcess(host, directory, changes, ports=(8470, 8475), key=_KEY)
    running.enter_context(agent)
    _say(f"c2c-agent        at {agent.url} (started in {time.monotonic() - begin:.1f} s)")
    _say()
    connected = _call(agent, pbx)
    if once:
        return 0 if connected else 1
    _say()
    _say("Everything goes on running. Another call:")
    _say()
    _say(f"    {shlex.join(_curl(agent, pbx))}")
    _say()
    _say("and what becomes of it (the id is in the answer; phone 200 hangs up after 5 s):")
    _say()
    _say(f"    curl '{agent.url}/c2c/v2/status/REQUEST_ID?wait=30'")
    _say()
    _say("Ctrl-C stops all of it.")
    signal.pause()
    return 0


def _asterisk(running: ExitStack, host: AsteriskHost, directory: Path) -> dict[str, Any]:
    """A real Asterisk and its phones; what the agent's configuration says of it."""
    running.enter_context(host)
    _say(f"Asterisk 22      in Docker, at {host.address}")
    for number, behaviour in (("100", _FIRST), ("200", _SECOND)):
        place = directory / number
        place.mkdir()
        port = host.phone_port(number)
        running.enter_context(Phone(number, host.phones_address, port, behaviour, place))
        _say(f"SIP phone {number}    SIPp, at {host.phones_address}:{port}")
    return {}


def _over_ari(running: ExitStack, host: AsteriskHost, directory: Path) -> dict[str, Any]:
    """The same, known to the agent over ARI alone."""
    give_ari(host)
    _asterisk(running, host, directory)
    _say(f"ARI              at http://{host.address}:{PORT}, by examples/other/asterisk-ari.yml")
    return {"asterisk": False, "other": section(host, directory)}


def _switchvox(running: ExitStack, _host: AsteriskHost, directory: Path) -> dict[str, Any]:
    """The double of a Switchvox, over TLS with an authority of its own."""
    authority = Authority(directory)
    double = running.enter_context(serve(authority.issue("switchvox", "127.0.0.1")))
    double.fake.extensions = {"100": "1106", "200": "1206"}
    double.fake.stories = {"100": Story(answers=2.0), "200": Story(answers=3.0, talks=5.0)}
    double.fake.log_after = 0
    _say(f"Switchvox        a double, at {double.url}; its phones are doubles, too")
    password = directory / "switchvox.password"
    password.write_text(double.fake.password + "\n", encoding="utf-8")
    password.chmod(0o640)
    pbx = {
        "url": double.url,
        "username": double.fake.username,
        "password_file": str(password),
        "tls": {"ca_file": str(authority.file)},
    }
    return {"asterisk": False, "switchvox": pbx}


_BEGIN: Final[Mapping[str, Callable[[ExitStack, AsteriskHost, Path], dict[str, Any]]]] = {
    "asterisk": _asterisk,
    "switchvox": _switchvox,
    "other": _over_ari,
}


def _curl(agent: AgentProcess, pbx: str) -> list[str]:
    """The request as the public API documents it."""
    named = "" if pbx == "asterisk" else f"&pbx={pbx}"
    query = f"dial_first=100&dial_second=200{named}&timeout=20&api_key={_KEY}"
    headers = ["-H", "Content-type: application/json", "-H", "Accept: application/json"]
    return ["curl", "-s", *headers, f"{agent.url}/c2c/v2?{query}"]


def _call(agent: AgentProcess, pbx: str) -> bool:
    """Place a call with curl, show its progress and its status; whether it connected."""
    request = _curl(agent, pbx)
    _say(f"$ {shlex.join(request)}")
    answer = subprocess.run(request, capture_output=True, text=True, timeout=60, check=True)
    _say(answer.stdout)
    request_id = json.loads(answer.stdout)["response"]["request_id"]
    shown = 0
    while True:
        call: dict[str, Any] = agent.status(request_id, wait=30, seen=shown)["call"]
        for entry in call["timeline"][shown:]:
            at = datetime.fromtimestamp(float(entry["utc.time"])).astimezone()
            clock = at.strftime("%H:%M:%S.%f")[:-3]
            told = f"  {entry['detail']}" if "detail" in entry else ""
            _say(f"  {clock}  {entry['event']}{told}")
        shown = len(call["timeline"])
        if call["state"] == "ended":
            break
    _say()
    _say(f"$ curl -s {agent.url}/c2c/v2/status/{request_id}")
    _say(json.dumps({"c2c_status": agent.status(request_id)}, indent=2))
    return bool(call["outcome"] == "connected")


if __name__ == "__main__":
    sys.exit(main())
