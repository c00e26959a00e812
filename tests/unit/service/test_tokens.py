"""Tokens beyond one request: their secret, and what reads on with those that were revoked."""

# Twisted's services have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.config.sections import Config, HttpConfig, StoreConfig
from c2c_agent.errors import ConfigError, StoreError
from c2c_agent.policy.keys import Key, KeyRing, key_digest
from c2c_agent.policy.token import Token, TokenError
from c2c_agent.report.live import Live
from c2c_agent.service.tokens import RevokedElsewhere, TokenSecrets

KEY = Key(name="crm", sha256=key_digest("c2c_x"))
TOKEN = Token(id="one", dial_first="100", expires=1060)


def config(folder: Path, *, file: Path | None = None, url: str | None = None) -> Config:
    """A configuration with its store in this folder."""
    return Config(
        server_id="pbx1",
        store=StoreConfig(path=None if url else str(folder / "store"), url=url),
        http=HttpConfig(token_secret_file=None if file is None else str(file)),
        asterisk=None,
    )


def accepts(secrets: TokenSecrets, text: str) -> bool:
    """Whether a token is read."""
    try:
        return secrets.signer.read(text, KeyRing([KEY]).named, 1000)[1] == TOKEN
    except TokenError:
        return False


def test_of_its_own(tmp_path: Path) -> None:
    """It is made at the first start, for the agent alone, and stays over restarts."""
    first = TokenSecrets(config(tmp_path))
    assert not list(tmp_path.iterdir())
    first.open()
    [file] = tmp_path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("token.secret", 0o600)
    text = first.signer.sign(TOKEN, KEY, 1000)
    second = TokenSecrets(config(tmp_path))
    second.open()
    assert accepts(second, text)


def test_of_the_configuration(tmp_path: Path) -> None:
    """It has to be there; a new line on top signs, and the old one is read until it is gone."""
    file = tmp_path / "secrets"
    with pytest.raises(ConfigError, match="this file must hold the secret"):
        TokenSecrets(config(tmp_path, file=file))
    file.write_text("o" * 32 + "\n")
    secrets = TokenSecrets(config(tmp_path, file=file))
    secrets.open()
    old = secrets.signer.sign(TOKEN, KEY, 1000)
    file.write_text("n" * 40 + "\n\n" + "o" * 32)
    secrets.take(config(tmp_path, file=file))
    new = secrets.signer.sign(TOKEN, KEY, 1000)
    assert new != old
    assert accepts(secrets, old)
    file.write_text("n" * 40)
    secrets.take(config(tmp_path, file=file))
    assert accepts(secrets, new)
    assert not accepts(secrets, old)
    assert [each.name for each in tmp_path.iterdir()] == ["secrets"]


@pytest.mark.parametrize("text", ["", "\n", "x" * 31, "x" * 32 + "\nshort", "x" * 31 + "\t"])
def test_what_is_no_secret(tmp_path: Path, text: str) -> None:
    """The message says what would be one."""
    file = tmp_path / "secrets"
    file.write_text(text)
    with pytest.raises(ConfigError, match="at least 32 characters should be in this file"):
        TokenSecrets(config(tmp_path, file=file))


def test_where_relays_share_a_store(tmp_path: Path) -> None:
    """One of its own would be of no use to the others."""
    secrets = TokenSecrets(config(tmp_path, url="postgresql://c2c@db/c2c"))
    secrets.open()
    assert not secrets.signer.can_sign


def test_where_it_cannot_be_made(tmp_path: Path) -> None:
    """The agent does not start."""
    (tmp_path / "folder").write_text("")
    secrets = TokenSecrets(config(tmp_path / "folder"))
    with pytest.raises(ConfigError, match="the secret of tokens"):
        secrets.open()


class Table:
    """A table in which another process has revoked tokens."""

    def __init__(self) -> None:
        self.revoked: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, str]] = []
        self.fails = False

    def use(self, key_name: str, token: str, uses: int, expires_at: float) -> Deferred[bool]:
        raise NotImplementedError

    def revoke(self, key_name: str, token: str, expires_at: float) -> Deferred[None]:
        raise NotImplementedError

    def is_revoked(self, key_name: str, token: str) -> Deferred[bool]:
        """Whether it is in the table."""
        self.asked.append((key_name, token))
        if self.fails:
            return fail(StoreError("the database is away"))
        return succeed((key_name, token) in self.revoked)


def test_revoked_elsewhere() -> None:
    """What is read with such a token ends a moment later; the rest goes on, whatever the store."""
    live = Live("pbx1", most=10, most_each=10, buffer=1000)
    table, clock = Table(), Clock()
    looks = RevokedElsewhere(live, table, clock)
    one, other = (live.follow_key("crm", "crm", "100", token) for token in ("one", "other"))
    of_key = live.follow_key("crm", "crm")
    looks.startService()
    table.revoked.add(("crm", "one"))
    table.revoked.add(("shop", "other"))
    assert table.asked == []
    table.fails = True
    with capturedLogs() as logged:
        clock.advance(15)
    assert [formatEvent(event) for event in logged] == [
        "revoked tokens could not be looked for: the database is away"
    ]
    assert not one.ended
    table.fails = False
    clock.advance(15)
    assert [watch.ended for watch in (one, other, of_key)] == [True, False, False]
    assert set(table.asked) == {("crm", "one"), ("crm", "other")}
    looks.stopService()
    assert not clock.getDelayedCalls()
