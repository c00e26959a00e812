"""The compose file that is shipped: built, started, called through, and taken away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.pbx.conftest import alone
from tests.pbx.waiting import wait_until

pytestmark = [pytest.mark.host, pytest.mark.timeout(400)]

_DEPLOY: Final = Path(__file__).parents[2] / "deploy"
_CLOUD_A: Final = "http://127.0.5.1:8470"
_CLOUD_B: Final = "http://127.0.5.2:8470"

Compose = Callable[..., str]


@pytest.fixture
def compose(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Compose]:
    """`docker compose` for the shipped file, with the package that was built; all is up."""
    place = tmp_path / "deploy"
    shutil.copytree(_DEPLOY, place, ignore=shutil.ignore_patterns("package"))
    (place / "package").mkdir()
    shutil.copy(os.environ["C2C_DEB"], place / "package")
    command = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, "--project-name", "c2c-agent-test-deploy", *arguments],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "C2C_BASE": "c2c-agent-test/base:sid"},
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    with alone("127.0.5.1", request.config):
        run("down", "--volumes")  # what an earlier run may have left
        run("build")
        try:
            run("up", "--detach")
            yield run
        finally:
            (tmp_path / "compose.log").write_text(run("logs", "--no-color"))
            run("down", "--volumes")


def ask(url: str, **query: str | int) -> Any:
    """The JSON of an answer."""
    with urlopen(f"{url}?{urlencode(query)}", timeout=60) as answer:  # noqa: S310 - our own
        return json.load(answer)


def is_ready(url: str) -> bool:
    """Whether a process can take calls."""
    try:
        return bool(ask(f"{url}/readyz")["ready"])
    except OSError:  # not there yet, or not ready
        return False


def test_a_call_through_the_whole_cloud(compose: Compose) -> None:
    """Asked for at one relay, its story told by the other; then by that alone, the first killed."""
    for url in (_CLOUD_A, _CLOUD_B, "http://127.0.5.5:8470"):
        wait_until(partial(is_ready, url), 90, f"{url} is ready")
    key = re.search(r"c2c_[A-Za-z0-9_-]{20,}", compose("logs", "--no-color", "secrets"))
    assert key is not None
    call: dict[str, str | int] = {"dial_first": 801, "dial_second": 802, "api_key": key[0]}
    response = ask(f"{_CLOUD_A}/c2c/v2", **call)["response"]
    assert response["status"] == "success", response
    status = f"{_CLOUD_B}/c2c/v2/status/{response['request_id']}"
    assert ask(status, wait=60)["c2c_status"]["call"]["outcome"] == "connected"
    compose("kill", "cloud-a")
    busy = ask(f"{_CLOUD_B}/c2c/v2", **{**call, "dial_second": 803})["response"]
    assert busy["status"] == "success", busy
    status = f"{_CLOUD_B}/c2c/v2/status/{busy['request_id']}"
    assert ask(status, wait=60)["c2c_status"]["call"]["outcome"] == "second_busy"
    # What no key may dial is refused before anybody is asked, and the agent has a say of its own.
    refused = ask(f"{_CLOUD_B}/c2c/v2", **{**call, "dial_second": "0012345"})["response"]
    assert [entry["error"]["code"] for entry in refused["errors"]] == ["not_allowed"]
