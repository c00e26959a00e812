"""The demonstration: a real Asterisk, two real SIP phones, the agent, and a call by curl.

`scripts/demo` runs this; `--once` stops by itself and tells by the exit status whether the call
connected.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import AsteriskHost
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import Behaviour

#: A place of its own, so that the demonstration and the tests can run side by side.
_ADDRESS: Final = "127.0.0.99"
_KEY: Final = "demo-key"
_FIRST: Final = Behaviour(ring_seconds=2.0)
_SECOND: Final = Behaviour(ring_seconds=3.0, talk_seconds=5.0)


def main() -> int:
    """Run the demonstration; the exit status."""
    once = sys.argv[1:] == ["--once"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as running:
            return _run(running, once=once)
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.")  # noqa: T201 - it talks to a person
        return 130


def _say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201 - it talks to a person


def _run(running: ExitStack, *, once: bool) -> int:
    directory = Path(running.enter_context(TemporaryDirectory(prefix="c2c-agent-demo-")))
    begin = time.monotonic()
    host = running.enter_context(AsteriskHost("22", _ADDRESS))
    _say(f"Asterisk 22      in Docker, at {_ADDRESS}")
    for number, behaviour in (("100", _FIRST), ("200", _SECOND)):
        place = directory / number
        place.mkdir()
        port = host.phone_port(number)
        running.enter_context(Phone(number, host.phones_address, port, behaviour, place))
        _say(f"SIP phone {number}    SIPp, at {host.phones_address}:{port}")
    keys = [{"name": "demo", "sha256": key_digest(_KEY), "allow": ["_[12]XX"]}]
    agent = AgentProcess(host, directory, {"keys": keys}, ports=(8470, 8475), key=_KEY)
    running.enter_context(agent)
    _say(f"c2c-agent        at {agent.url} (started in {time.monotonic() - begin:.1f} s)")
    _say()
    connected = _call(agent)
    if once:
        return 0 if connected else 1
    _say()
    _say("Everything goes on running. Another call:")
    _say()
    _say(f"    {_curl_line(agent)}")
    _say()
    _say("and what becomes of it (the id is in the answer; phone 200 hangs up after 5 s):")
    _say()
    _say(f"    curl '{agent.url}/c2c/v2/status/REQUEST_ID?wait=30'")
    _say()
    _say("Ctrl-C stops all of it.")
    signal.pause()
    return 0


def _curl(agent: AgentProcess) -> list[str]:
    """The request as the public API documents it."""
    query = f"dial_first=100&dial_second=200&timeout=20&api_key={_KEY}"
    headers = ["-H", "Content-type: application/json", "-H", "Accept: application/json"]
    return ["curl", "-s", *headers, f"{agent.url}/c2c/v2?{query}"]


def _curl_line(agent: AgentProcess) -> str:
    return shlex.join(_curl(agent))


def _call(agent: AgentProcess) -> bool:
    """Place a call with curl, show its progress and its status; whether it connected."""
    _say(f"$ {_curl_line(agent)}")
    answer = subprocess.run(_curl(agent), capture_output=True, text=True, timeout=60, check=True)
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
