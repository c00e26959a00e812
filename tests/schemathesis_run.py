"""Schemathesis against a running agent: requests made from the description, good ones and bad.

It runs as a user would run it, and this module is also its hooks. What it checks of each answer:
status code, content type, headers and content are as described, the events of streams included, and
none is a server error. Two of its checks are not for an API that promises 200 for everything: there
`tells_who_is_refused` looks instead.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import schemathesis

_ROOT: Final = Path(__file__).parent.parent

#: Checks that ask for a status of 4xx: below /c2c/v2 there is none.
_NOT_HERE: Final = "ignored_auth,negative_data_rejection,unsupported_method"

_SEED: Final = 20

#: How many operations there are at least, with or without a key: a run that tried fewer was none.
_OPERATIONS: Final = 20

#: What is answered with `unauthorized` where no key is given.
_WITH_KEY_ONLY: Final = frozenset(
    [
        "/c2c/v2",
        "/c2c/v2/cancel/{request_id}",
        "/c2c/v2/calls",
        "/c2c/v2/events/ticket",
        "/c2c/v2/events",
        "/c2c/v2/reports",
        "/c2c/v2/targets",
        "/c2c/v2/keys",
        "/c2c/v2/tokens",
        "/c2c/v2/tokens/{token_id}",
        "/c2c/v2/replay",
        "/c2c/v2/stop-calls",
        "/c2c/v2/start-calls",
    ]
)


def findings(url: str, description: str, directory: Path, *, examples: int, key: str | None) -> str:
    """Run it, with a key or without; what it has found, empty if nothing.

    `examples` is how many requests it makes up for each operation, beside those that it always
    tries: not seconds, for on a slow machine as much has to be tried. `description` is a URL or a
    file.
    """
    # A stream of all calls of a key has no end; without a key it does not begin.
    who = (
        ["--header", f"Authorization: Bearer {key}", "--exclude-path", "/c2c/v2/events"]
        if key is not None
        else ["--generation-with-security-parameters", "false"]
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")
    }
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"),
            "run",
            description,
            f"--url={url}",
            f"--seed={_SEED}",
            f"--max-examples={examples}",
            f"--exclude-checks={_NOT_HERE}",
            "--generation-database=none",
            "--request-timeout=10",
            "--no-color",
            *who,
        ],
        cwd=directory,
        env={
            **environment,
            "SCHEMATHESIS_HOOKS": __name__,
            "PYTHONPATH": str(_ROOT),
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    tried = re.search(r"^ *Tested: +(\d+)$", done.stdout, re.MULTILINE)
    assert tried is not None, done.stdout + done.stderr
    assert int(tried[1]) >= _OPERATIONS, done.stdout
    return "" if done.returncode == 0 else done.stdout + done.stderr


@schemathesis.check
def tells_who_is_refused(_context: Any, response: Any, case: Any) -> None:
    """Where no key was given and one is needed, `unauthorized` is said, and nothing is stored."""
    request, operation = response.request, case.operation
    sent = f"{request.url} {request.body!r} {request.headers.get('Authorization')}"
    as_described = case.method.upper() == operation.method.upper() != "HEAD"
    if operation.path not in _WITH_KEY_ONLY or not as_described:
        return
    if "api_key" in sent or "Bearer" in sent:
        return
    refused = json.loads(response.content)["response"]
    codes = {entry["error"]["code"] for entry in refused["errors"]}
    assert codes & {"unauthorized", "invalid_parameter"}, "got in without a key"
    assert refused["request_id"] is None, "stored without a key"
