"""The configuration and what it names on this host: keys, the store, the kill switch, files.

Everything is only looked at: who checks may be root, or come before the agent's first start.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from c2c_agent.check import exposure, other
from c2c_agent.check.finding import Finding
from c2c_agent.config.files import operator_file
from c2c_agent.config.sections import Config
from c2c_agent.dispatch.kill_switch import StopSwitch
from c2c_agent.errors import C2CError, ConfigError, StoreError
from c2c_agent.policy.pbxs import PbxNames
from c2c_agent.store.postgres.extra import database_versions
from c2c_agent.store.sqlite.store import SCHEMA_VERSION, connect


def findings(config: Config) -> Iterator[Finding]:
    """All that is found without asking the PBX."""
    yield Finding("configuration", f"{len(config.keys)} keys, server_id {config.server_id}")
    yield from _server_id(config)
    yield from _keys(config)
    url = config.store.url
    yield _store(config) if url is None else _database(url, config)
    yield from _stopped(config)
    yield from _open_files(config)
    yield from filter(None, [exposure.of_http(config.http.listen)])
    yield from _forwards(config)


def not_buildable(config: Config, build: Callable[[Config], object]) -> Finding | None:
    """Why no agent could be made of this configuration; None where one can be."""
    try:
        build(config)
    except C2CError as error:
        return Finding("configuration", str(error), "Correct this, and check again.")
    return None


def _server_id(config: Config) -> Iterator[Finding]:
    if config.is_called_localhost:
        advice = "Set server_id to the name by which others know this host: pbx1.example.com."
        message = f"is {config.server_id}, by which nobody can tell this agent from others."
        yield Finding("server_id", message, advice, warning=True)


def _keys(config: Config) -> Iterator[Finding]:
    if not config.keys:
        advice = "Make one with `c2c-agent key new NAME`, and put it into the list `keys`."
        yield Finding("keys", "No key is configured, so nobody can place calls.", advice)
    for key in config.keys:
        if config.relay is not None and key.agent is None:
            advice = "Give it `agent`: the agent_id of the agent beside its PBX."
            message = "names no agent, so a relay can give its calls to nobody."
            yield Finding(f"key {key.name}", message, advice)
        elif not key.pbx and (several := _without_default(config.pbx_kinds)):
            advice = (
                "Give it `pbx`, such as `pbx: {asterisk: north}`: which PBX it means of each kind."
            )
            message = f"names no PBX, and there are several of the kind {several[0]}."
            yield Finding(f"key {key.name}", message, advice)
        elif (wide := exposure.of_key(key)) is not None:
            yield wide
        elif key.allow:
            yield Finding(f"key {key.name}", f"may dial {', '.join(p.text for p in key.allow)}")
        else:
            advice = "Give it a list `allow` of the numbers or patterns that it may dial."
            yield Finding(f"key {key.name}", "allows nothing, so it can dial nothing.", advice)


def _without_default(kinds: Mapping[str, str]) -> list[str]:
    """The kinds of which there are several PBXs, and none for a key that names none."""
    names = PbxNames(kinds)
    return [kind for kind in sorted({*kinds.values()}) if names.default(kind) is None]


def _stopped(config: Config) -> Iterator[Finding]:
    stopped = StopSwitch(operator_file(config).parent).state()
    if stopped is not None:
        advice = "To have calls placed again: c2c-agent start-calls"
        yield Finding("kill switch", str(stopped), advice, warning=True)


def _forwards(config: Config) -> Iterator[Finding]:
    for name, pbx in config.every_pbx.items():
        if pbx.asterisk is None:
            continue
        forwards = exposure.of_first_leg(pbx.asterisk.first_leg)
        if forwards is not None:
            yield forwards if name == pbx.kind else forwards.on(name)


def _store(config: Config) -> Finding:
    """The store is only looked at: this may be root, and the file has to be the agent's own."""
    path = Path(config.store.file)
    try:
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            advice = f"Make {path.parent} a directory that the agent's user can write to."
            return Finding("store", f"{path} cannot be written.", advice)
        if not path.exists():
            return Finding("store", f"{path} will be made by the agent's first start")
        if (owner := path.stat().st_uid) != (wanted := path.parent.stat().st_uid):
            advice = f"chown --reference={path.parent} {path}*"
            message = f"{path} belongs to the user {owner}, its directory to {wanted}."
            return Finding("store", message, advice)
        with closing(connect(path, "ro")) as store:
            (version,) = store.execute("SELECT version FROM schema_version").fetchone()
    except (OSError, sqlite3.Error) as error:
        advice = f"Put a backup in its place, or move {path} away to begin a new one."
        return Finding("store", f"{path} cannot be used: {error}", advice)
    if version > SCHEMA_VERSION:
        advice = "Install the version of c2c-agent that has written it, or a newer one."
        return Finding("store", f"{path} is of a newer version of c2c-agent.", advice)
    return Finding("store", f"{path} can be written")


def _database(url: str, config: Config) -> Finding:
    """The store that several processes share: reached, and of a schema that is known."""
    try:
        known, version = database_versions(config)
    except (StoreError, ConfigError) as error:
        advice = "See that the server runs, and that the user of the URL may connect to it."
        return Finding("store", f"{url} cannot be used: {error}", advice)
    if version > known:
        advice = "Install the version of c2c-agent that has written it, or a newer one."
        return Finding("store", f"{url} is of a newer version of c2c-agent.", advice)
    if not version:
        return Finding("store", f"{url} is reached; its tables will be made by the first start")
    return Finding("store", f"{url} is reached")


def _open_files(config: Config) -> Iterator[Finding]:
    """Files with secrets or telephone numbers in them that are open to others."""
    for file in _private_files(config):
        with suppress(OSError):  # what cannot be read is for another check to tell
            wide = exposure.of_mode(str(file), file.stat().st_mode)
            if wide is not None:
                yield wide


def _private_files(config: Config) -> Iterator[Path]:
    """The files that only the agent may read."""
    yield operator_file(config)
    if config.store.url is None:
        yield Path(config.store.file)
    yield from map(Path, _secret_files(config))


def _secret_files(config: Config) -> Iterator[str]:
    if config.store.url is not None and config.store.password_file is not None:
        yield config.store.password_file
    for pbx in config.every_pbx.values():
        if pbx.asterisk is not None:
            yield pbx.asterisk.ami.secret_file
        if pbx.other is not None:
            yield from other.secret_files(pbx.other)
        if pbx.switchvox is not None:
            yield pbx.switchvox.password_file
    if config.amqp is not None:
        own = (config.amqp.password_file, config.amqp.private_key_file)
        yield from (file for file in own if file is not None)
    yield from (webhook.secret_file for webhook in config.webhooks)
