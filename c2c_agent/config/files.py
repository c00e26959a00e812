"""The configuration's files: the YAML, the `conf.d` beside it, and the files that hold secrets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import yaml

from c2c_agent.config.parse import parse
from c2c_agent.config.sections import Config
from c2c_agent.errors import ConfigError
from c2c_agent.net.signature import parse_secrets

DEFAULT_PATH = "/etc/c2c-agent/c2c-agent.yml"

_OPERATOR = "operator.key"
_TOKENS = "token.secret"

#: Characters of a secret that tokens are signed with, at least: HS256 has a key of 256 bits.
_SHORTEST = 32


def load(path: str) -> Config:
    """Read the file and `conf.d/*.yml` beside it, in order of name; raises ConfigError."""
    main = Path(path)
    documents: list[tuple[str, object]] = []
    faults: list[str] = []
    for file in [main, *_laid_over(main.parent / "conf.d")]:
        try:
            documents.append((str(file), _document(file)))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return parse(documents, server_id=socket.getfqdn())


def _laid_over(folder: Path) -> list[Path]:
    """The files of conf.d in order of name: all of them, none where there is no such folder."""
    try:
        # Not by `glob`, which finds nothing in a folder that may not be read.
        return sorted(file for file in folder.iterdir() if file.name.endswith(".yml"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{folder}: {_reason(error)}") from None


def operator_file(config: Config) -> Path:
    """Where the agent keeps the key of its own host's command line: beside its store."""
    store = config.store
    return Path(store.directory if store.url is not None else Path(store.file).parent, _OPERATOR)


def read_secret(path: str) -> str:
    """The secret in a file, without the line's end; raises ConfigError."""
    file, text = _read(path)
    secret = text.rstrip("\r\n")
    if not secret or not secret.isprintable():
        raise ConfigError(f"{file}: this file must hold one line, the secret")
    return secret


def store_password(config: Config) -> str | None:
    """The password for the database, where one is configured; raises ConfigError."""
    file = config.store.password_file
    return None if file is None else read_secret(file)


def read_webhook_secrets(path: str) -> tuple[bytes, ...]:
    """The keys in a webhook's file; raises ConfigError."""
    file, text = _read(path)
    return parse_secrets(text, str(file))


def token_file(config: Config) -> Path | None:
    """Where the secret of tokens is; None: nowhere, since several relays would need the same."""
    if config.http.token_secret_file is not None:
        return Path(config.http.token_secret_file)
    return None if config.store.url is not None else operator_file(config).with_name(_TOKENS)


def read_token_secrets(path: str) -> tuple[bytes, ...]:
    """The secrets in the file of tokens, the newest first; raises ConfigError."""
    file, text = _read(path)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or any(len(line) < _SHORTEST or not line.isprintable() for line in lines):
        advice = f"secrets of at least {_SHORTEST} characters should be in this file, one in a line"
        raise ConfigError(f"{file}: {advice}")
    return tuple(line.encode() for line in lines)


def _read(path: str) -> tuple[Path, str]:
    """Where a secret was found, and the text of that file.

    Where systemd has handed in a credential of the file's name (`$CREDENTIALS_DIRECTORY`,
    systemd.exec(5)), that is read instead. An empty one stands for a file that was not there.
    """
    file = Path(path)
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY") or os.devnull) / file.name
    if credential.is_file() and credential.read_bytes().strip():
        file = credential
    try:
        return file, file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: this file must hold the secret: {_reason(error)}") from None


#: What YAML 1.1 makes of a plain `<<` (https://yaml.org/type/merge.html).
_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a name that stands twice in a mapping is an error, not the last one's win."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[object, object]:
    names = [_name(loader, name) for name, _ in node.value]
    for name, (place, _) in zip(names, node.value, strict=True):
        if names.count(name) > 1:
            line = place.start_mark.line + 1
            raise yaml.YAMLError(f"{name!r} is given twice, once in line {line}")
    return loader.construct_mapping(node, deep=True)


def _name(loader: _StrictLoader, node: yaml.Node) -> object:
    """A name in a mapping; the merge key `<<` stands for names that may stand there once more."""
    return "<<" if node.tag == _MERGE else loader.construct_object(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def document(data: bytes, name: str) -> object:
    """What the YAML of a file of that name says; raises ConfigError."""
    try:
        return yaml.load(data, _StrictLoader)  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: such as a date with a month 13
        raise ConfigError(f"{name}: no valid YAML: {error}") from None


def _document(file: Path) -> object:
    try:
        return document(file.read_bytes(), str(file))
    except OSError as error:
        raise ConfigError(f"{file}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
