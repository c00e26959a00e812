"""Other people's clients work with the double, which is why it is believed.

pyswitchvox is the vendor's own and speaks Digest; curl, wget and requests speak both.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from pyswitchvox.client import Client, ExtendAPIError, HTTPException
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth

from tests.certificates import Authority
from tests.fake_switchvox import Scheme, Story
from tests.switchvox.server import Running

DIGESTS: list[Scheme] = ["empty-qop", "no-qop", "qop-list"]
CALL = {"dial_first": "101", "dial_second": "5554578299", "dial_as_account_id": "1107"}
QUICK = Story(answers=0.05, talks=0.2)

Start = Callable[..., Running]


def body(method: str, parameters: dict[str, Any] | None = None) -> str:
    """A request, as another program writes it."""
    return json.dumps({"request": {"method": method, "parameters": parameters or {}}})


def version(answer: str) -> str:
    """The PBX's version in an answer."""
    told: str = json.loads(answer)["response"]["result"]["info"]["software"]["version"]
    return told


@pytest.mark.filterwarnings("ignore")  # it does not verify certificates
class TestPyswitchvox:
    @pytest.mark.parametrize("scheme", DIGESTS)
    def test_asks_and_places_a_call(self, switchvox: Start, scheme: Scheme) -> None:
        running = switchvox()
        running.fake.scheme = scheme
        running.fake.stories = {"101": QUICK, "5554578299": QUICK}
        with Client(running.address, running.fake.username, running.fake.password) as client:
            told = client.info.getList()
            assert told["result"]["info"]["software"]["version"] == running.fake.version
            called = client.call(**CALL)
            assert called["result"]["call_info"]["dialed_second"] == "95554578299"
            listed = client.currentCalls.getList()["result"]["current_calls"]
            assert listed["total_items"] == "1"
        assert len(running.fake.placed) == 1
        assert running.fake.wrong_credentials == 0

    def test_hears_the_pbxs_errors(self, switchvox: Start) -> None:
        running = switchvox()
        running.fake.stories = {"101": Story(answers=None, refuses=0.05)}
        with Client(running.address, running.fake.username, running.fake.password) as client:
            with pytest.raises(ExtendAPIError, match="Originate failed"):
                client.call(**CALL)
            with pytest.raises(ExtendAPIError, match="Missing required parameter"):
                client.call(dial_first="101")

    def test_hears_that_its_password_is_wrong(self, switchvox: Start) -> None:
        running = switchvox()
        with (
            Client(running.address, running.fake.username, "wrong") as client,
            pytest.raises(HTTPException) as caught,
        ):
            client.info.getList()
        assert caught.value.status_code == 403


class TestRequests:
    @pytest.mark.parametrize("scheme", [*DIGESTS, "basic"])
    def test_asks(self, switchvox: Start, authority: Authority, scheme: Scheme) -> None:
        running = switchvox()
        running.fake.scheme = scheme
        kind = HTTPBasicAuth if scheme == "basic" else HTTPDigestAuth
        who: AuthBase = kind(running.fake.username, running.fake.password)
        told = requests.post(
            f"{running.url}/json",
            data=body("switchvox.info.getList"),
            auth=who,
            verify=str(authority.file),
            timeout=10,
        )
        assert version(told.text) == running.fake.version

    def test_who_says_nothing_of_himself_is_asked(self, switchvox: Start) -> None:
        running = switchvox(tls=False)
        asked = requests.head(f"{running.url}/json", timeout=10)
        assert asked.status_code == 401
        assert 'qop=""' in asked.headers["WWW-Authenticate"]


def command(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


class TestCurl:
    @pytest.mark.parametrize("scheme", [*DIGESTS, "basic"])
    def test_asks(self, switchvox: Start, authority: Authority, scheme: Scheme) -> None:
        running = switchvox()
        running.fake.scheme = scheme
        done = subprocess.run(
            [
                command("curl"),
                *("--silent", "--show-error", "--fail", "--anyauth"),
                *("--cacert", str(authority.file)),
                *("--user", f"{running.fake.username}:{running.fake.password}"),
                *("--data", body("switchvox.info.getList"), f"{running.url}/json"),
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert version(done.stdout) == running.fake.version


class TestWget:
    @pytest.mark.parametrize("scheme", ["empty-qop", "no-qop", "qop-auth", "basic"])
    def test_asks(
        self, switchvox: Start, authority: Authority, tmp_path: Path, scheme: Scheme
    ) -> None:
        running = switchvox()
        running.fake.scheme = scheme
        running.fake.password = "s3cret"
        done = subprocess.run(
            [
                command("wget"),
                *("--quiet", "--output-document=-", f"--ca-certificate={authority.file}"),
                f"--user={running.fake.username}",
                f"--password={running.fake.password}",
                f"--post-data={body('switchvox.info.getList')}",
                f"{running.url}/json",
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert version(done.stdout) == running.fake.version
