"""The search for secrets finds them: one that finds nothing anywhere would be worth nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote_plus

import pytest

from tests.pbx.agents import KEY
from tests.written import leaks, main, secrets_in

MADE: str = "bWFkZSBhbmV3IGluIHRoaXMgcnVu"


@pytest.fixture
def folder() -> Iterator[Path]:
    """What a run leaves behind, with nothing in it that should not be; not where this one does."""
    with TemporaryDirectory() as name:
        place = Path(name)
        for file in ("agent.log", "answers.log", "process.log", "c2c.sqlite3"):
            (place / file).write_text("all is well\n")
        (place / "amqp.password").write_text(f"{MADE}\n")
        (place / "manager.conf").write_text(f"secret = {MADE}\n")
        yield place


def test_nothing(folder: Path) -> None:
    """A secret may stand where it belongs."""
    assert main(folder) == 0


@pytest.mark.parametrize(
    "written",
    [KEY, quote_plus(KEY), MADE, base64.b64encode(MADE.encode()).decode(), MADE.encode().hex()],
)
def test_each_form(folder: Path, written: str) -> None:
    """Plain, and as URLs and headers have it."""
    (folder / "agent.log").write_text(f"GET /c2c/v2?api_key={written}&x=1\n")
    assert len(list(leaks(folder, secrets_in(folder)))) == 1
    assert main(folder) == 1


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Variable: _C2C_SECRET={secret}", 1),
        ('"Variable": ["_C2C_SECRET={secret}", "C2C_TAKEN=0"]', 1),
        ('> GET VARIABLE "C2C_SECRET"\n< 200 result=1 ({secret})', 1),
        ("_C2C_SECRET%3D{secret}", 1),
        ("_C2C_SECRET=(not shown)", 0),
        ('> GET VARIABLE "C2C_SECRET"\n< 200 result=0', 0),
        ("_C2C_SECRET=(not shown), secret_digest: {secret}{secret}", 0),
    ],
)
def test_the_secret_of_a_call(folder: Path, written: str, found: int) -> None:
    """Each is made anew, and known by its variable alone; its digest is none."""
    (folder / "agent.log").write_text(written.format(secret="0123456789abcdef" * 2) + "\n")
    assert len(list(leaks(folder, secrets_in(folder)))) == found
    assert main(folder) == found


def test_nothing_was_looked_at(folder: Path) -> None:
    """A run that has left no log has shown nothing."""
    (folder / "agent.log").unlink()
    assert main(folder) == 1


def test_a_certificate_beside_its_key(folder: Path) -> None:
    """It is public, and may stand anywhere; the key may not."""
    certificate = "-----BEGIN CERTIFICATE-----\nMIIBpublicpublic\n-----END CERTIFICATE-----\n"
    key = "-----BEGIN PRIVATE KEY-----\nMIGHprivateprivate\n-----END PRIVATE KEY-----\n"
    (folder / "both.key").write_text(certificate + key)
    (folder / "ca.pem").write_text(certificate)
    assert "MIIBpublicpublic" not in secrets_in(folder)
    assert list(leaks(folder, secrets_in(folder))) == []
    (folder / "ca.pem").write_text(certificate + key)
    assert len(list(leaks(folder, secrets_in(folder)))) == 1
