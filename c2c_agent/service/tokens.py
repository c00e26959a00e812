"""The secret that tokens are signed with: read, made where there is none, and read again."""

from __future__ import annotations

import secrets
from pathlib import Path

from c2c_agent.config.files import read_token_secrets, token_file
from c2c_agent.config.sections import Config
from c2c_agent.errors import ConfigError
from c2c_agent.host.files import write_anew
from c2c_agent.policy.token import TokenSigner


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
