"""Tokens beyond one request: the secret that they are signed with, and what reads on with them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from c2c_agent.config.files import read_token_secrets, token_file
from c2c_agent.config.sections import Config
from c2c_agent.errors import ConfigError, StoreError
from c2c_agent.host.files import write_anew
from c2c_agent.policy.token import TokenSigner
from c2c_agent.report.live import Live
from c2c_agent.store.call_store import TokenStore

_log = Logger()

#: Seconds for which who reads with a token may go on after another process has ended it.
_LOOK: Final = 15.0


class TokenSecrets:
    """The secrets of a configuration: they are in `signer`. Raises ConfigError.

    A file that the configuration names has to be there; that of the agent's own is made by `open`.
    """

    def __init__(self, config: Config) -> None:
        self.signer = TokenSigner()
        self._file: Path | None = None
        self.take(config)

    def take(self, config: Config) -> None:
        """Read the secrets anew, as the configuration has them now."""
        file = token_file(config)
        own = config.http.token_secret_file is None
        if file is not None and (not own or file.exists()):
            self.signer.change(read_token_secrets(str(file)))
        self._file = file if own else None

    def open(self) -> None:
        """Make the agent's own secret, where there is none; raises ConfigError."""
        if self._file is None or self._file.exists():
            return
        secret = secrets.token_urlsafe(48).encode("ascii")
        try:
            self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            write_anew(self._file, secret + b"\n", 0o600)
        except OSError as error:
            message = f"the secret of tokens, {self._file}: {error.strerror}"
            raise ConfigError(message) from error
        self.signer.change([secret])


class RevokedElsewhere(Service):
    """Ends what is read with tokens that another process of the same store has revoked."""

    name = "revoked tokens"

    def __init__(self, live: Live, tokens: TokenStore, reactor: Any) -> None:
        self._live = live
        self._tokens = tokens
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._loop.clock = reactor

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to look."""
        super().startService()
        self._loop.start(_LOOK, now=False)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Look no more."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    async def _look(self) -> None:
        try:
            for key_name, token in self._live.tokens:
                if await self._tokens.is_revoked(key_name, token):
                    self._live.revoke(key_name, token)
        except StoreError as error:
            _log.warn("revoked tokens could not be looked for: {reason}", reason=str(error))
