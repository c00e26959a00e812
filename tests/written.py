"""Looks through all that a run of the tests wrote for secrets: `python -m tests.written FOLDER`.

The tests leave there what the agent logged (at its most talkative), answered and stored, and what
the system shows of its process. A secret may stand in the file that is there for it, and nowhere
else. Exit status: 0 if none was found, else 1.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from tests.cloud.brokers import PASSWORD
from tests.pbx.agents import KEY, OTHER_KEY
from tests.pbx.hosts import AMI_SECRET, WITNESS_SECRET
from tests.pbx.receiver import SECRET

#: Files that are there for a secret. Asterisk's own configuration has that of AMI in it.
_PLACES: Final = ("*.secret", "*.whsec", "*.password", "*.key", "*.conf")
_IN_THEM: Final = _PLACES[:-1]

#: Characters from which on a text is a secret, and not a word that stands in anything.
_SHORTEST: Final = 12

#: The secret of a call (`originate`), which nobody knows beforehand: by the name of its variable.
_OF_A_CALL: Final = re.compile(
    rb"C2C_SECRET.{1,40}?(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", re.DOTALL
)

_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", re.DOTALL)

#: What a run with a PBX always leaves behind; without it nothing was looked at.
_EXPECTED: Final = frozenset({"agent.log", "answers.log", "process.log", "c2c.sqlite3"})


def secrets_in(folder: Path) -> Mapping[str, str]:
    """All secrets of a run, each with where it is from: those of the tests, and those made anew."""
    known = {KEY: "KEY", OTHER_KEY: "OTHER_KEY", AMI_SECRET: "AMI_SECRET", PASSWORD: "PASSWORD"}
    known |= {WITNESS_SECRET: "WITNESS_SECRET", SECRET: "SECRET of the webhooks"}
    for pattern in _IN_THEM:
        for file in folder.rglob(pattern):
            for line in _secret_lines(_text(file)):
                if len(line) >= _SHORTEST:
                    known.setdefault(line, str(file))
    return known


def _secret_lines(text: str) -> Iterator[str]:
    """The lines of a file with a secret; of PEM the private keys, for certificates are public."""
    blocks = _PRIVATE_KEY.findall(text) if "-----BEGIN " in text else [text]
    return (line for block in blocks for line in block.splitlines())


def leaks(folder: Path, secrets: Mapping[str, str]) -> Iterator[str]:
    """Each place at which one of the secrets stands, or that of a call, in words."""
    searched = {form: secret for secret in secrets for form in _forms(secret)}
    for file in _files(folder):
        if any(file.match(pattern) for pattern in _PLACES):
            continue
        content = file.read_bytes()
        for form, secret in searched.items():
            if form in content:
                yield f"{file}: {secrets[secret]}"
        if _OF_A_CALL.search(content):
            yield f"{file}: C2C_SECRET of a call"


def _forms(secret: str) -> Iterable[bytes]:
    """A secret as it may be written."""
    plain = secret.encode()
    return {
        plain,
        quote(secret).encode(),
        quote_plus(secret).encode(),
        base64.b64encode(plain).rstrip(b"="),
        plain.hex().encode(),
    }


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def main(folder: Path) -> int:
    """Look, and say what was found."""
    files = list(_files(folder))
    missing = _EXPECTED - {file.name for file in files}
    secrets = secrets_in(folder)
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} files, {size // 1024} KiB, {len(secrets)} secrets")
    found = [*leaks(folder, secrets), *(f"no {name} was written" for name in sorted(missing))]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
