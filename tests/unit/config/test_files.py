"""The configuration's files, and the files that hold secrets, in a directory of the test's own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from c2c_agent.config.files import (
    load,
    operator_file,
    read_secret,
    read_webhook_secrets,
    store_password,
)
from c2c_agent.config.sections import Config, StoreConfig
from c2c_agent.errors import ConfigError
from c2c_agent.policy.pattern import parse_pattern

ZEROS = "0" * 64


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment that the tests run in counts."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def written(file: Path, text: str | bytes) -> str:
    """Write a file, its directory too, and give its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


class TestLoad:
    """The YAML and what stands in conf.d beside it."""

    def test_example_of_the_documentation(self, tmp_path: Path) -> None:
        """The configuration that the documentation shows can be used as it is shown."""
        config = load(
            written(
                tmp_path / "c2c-agent.yml",
                f"""\
server_id: pbx1.example.com            # default: the host's FQDN
store:
  path: /var/lib/c2c-agent/c2c.sqlite3
  keep_days: 90
http:
  listen: "tcp:8470:interface=127.0.0.1"   # a Twisted endpoint; ssl: and unix: work too
  public_url: "http://127.0.0.1:8470"
  status_requires_key: false
asterisk:
  ami: {{host: 127.0.0.1, port: 5038, username: c2c-agent,
        secret_file: /etc/c2c-agent/ami.secret, tls: false}}
  agi: {{listen: "tcp:4573:interface=127.0.0.1"}}
  bridge_context: c2c-bridge
  first_leg:
    - {{match: "_X.", channel: "Local/{{number}}@c2c-first/n"}}
  second_leg:
    - {{match: "_X.", channel: "Local/{{number}}@{{context}}/n"}}
  dial_as:
    contexts: {{}}
    default_context: null
  variables: {{}}
calls: {{timeout: 30, max_timeout: 120, max_concurrent: 200, max_duration: 14400}}
keys:
  - name: crm
    sha256: "{ZEROS}"
    allow: ["_1XX", "_NXXNXXXXXX"]
    deny: []
    dial_as: ["_1XX"]
    max_concurrent: 10
    per_minute: 60
""",
            )
        )
        assert config.server_id == "pbx1.example.com"
        assert config.http.public_url == "http://127.0.0.1:8470"
        (key,) = config.keys
        assert key.may_dial("2125551234")
        assert not key.may_dial_as("200")

    def test_server_id_of_the_host(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where none is configured, it is the host's full name."""
        monkeypatch.setattr(socket, "getfqdn", lambda: "pbx7.example.com")
        assert load(written(tmp_path / "x.yml", "")).server_id == "pbx7.example.com"

    def test_conf_d(self, tmp_path: Path) -> None:
        """Laid over the file in order of name; files of other names are left alone."""
        main = written(tmp_path / "main.yml", "server_id: main\nhttp: {listen: 'tcp:1'}\n")
        written(tmp_path / "conf.d" / "20-b.yml", "server_id: b\n")
        written(tmp_path / "conf.d" / "10-a.yml", "server_id: a\ncalls: {timeout: 11}\n")
        written(tmp_path / "conf.d" / "30-c.yml.dpkg-old", "server_id: old\n")
        written(tmp_path / "conf.d" / "README", "no YAML: at all: [")
        written(tmp_path / "conf.d" / "40-empty.yml", "# nothing\n")
        config = load(main)
        assert (config.server_id, config.calls.timeout, config.http.listen) == ("b", 11, "tcp:1")

    def test_conf_d_that_cannot_be_read(self, tmp_path: Path) -> None:
        """It may hold what keys may not do: nothing is loaded without it."""
        main = written(tmp_path / "main.yml", "server_id: main\n")
        (tmp_path / "conf.d").symlink_to("conf.d")
        with pytest.raises(ConfigError, match=r"conf\.d: Too many levels of symbolic links"):
            load(main)

    def test_an_error_names_its_file(self, tmp_path: Path) -> None:
        """Of several the one that has the fault."""
        main = written(tmp_path / "main.yml", "calls: {timeout: 10}\n")
        other = written(tmp_path / "conf.d" / "a.yml", "calls: {timeot: 10}\n")
        with pytest.raises(ConfigError) as caught:
            load(main)
        assert str(caught.value) == f"{other}: calls.timeot: is unknown; did you mean 'timeout'?"

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        """All of them are told, not the first alone."""
        main = written(tmp_path / "main.yml", "calls: {")
        other = written(tmp_path / "conf.d" / "a.yml", "calls: }")
        with pytest.raises(ConfigError) as caught:
            load(main)
        assert f"{main}: no valid YAML" in str(caught.value)
        assert f"{other}: no valid YAML" in str(caught.value)

    def test_a_name_that_stands_twice(self, tmp_path: Path) -> None:
        """YAML alone would let the last one win, and `deny` would lose its first list unseen."""
        path = written(tmp_path / "c.yml", "keys:\n- name: crm\n  deny: [_1X.]\n  deny: [_2X.]\n")
        with pytest.raises(ConfigError, match=r"c\.yml: no valid YAML: 'deny' is given twice"):
            load(path)

    def test_merge_keys(self, tmp_path: Path) -> None:
        """What several keys have in common is written once, and each may say something else."""
        path = written(
            tmp_path / "c.yml",
            f"""
            keys:
            - &usual {{name: crm, sha256: "{ZEROS}", allow: [_1XX], per_minute: 5}}
            - <<: *usual
              name: shop
              sha256: "{"1" * 64}"
              per_minute: 7
            - <<: [{{per_day: 3}}, *usual]
              name: door
              sha256: "{"2" * 64}"
            """,
        )
        keys = load(path).keys
        assert [(key.name, key.per_minute, key.per_day) for key in keys] == [
            ("crm", 5, None),
            ("shop", 7, None),
            ("door", 5, 3),
        ]
        assert {key.allow for key in keys} == {(parse_pattern("_1XX"),)}

    @pytest.mark.parametrize("text", ["<<: 1", "calls: {<<: [1]}", "<<: {a: 1}\n<<: {b: 1}"])
    def test_merge_keys_that_are_none(self, tmp_path: Path, text: str) -> None:
        """An error in a line, as of any YAML."""
        with pytest.raises(ConfigError, match=r"c\.yml: no valid YAML"):
            load(written(tmp_path / "c.yml", text))

    def test_no_such_file(self, tmp_path: Path) -> None:
        """The path is told, and what the system says."""
        file = tmp_path / "missing.yml"
        with pytest.raises(ConfigError) as caught:
            load(str(file))
        assert str(caught.value) == f"{file}: No such file or directory"

    def test_a_directory(self, tmp_path: Path) -> None:
        """Also where one stands in conf.d in the place of a file."""
        main = written(tmp_path / "main.yml", "")
        (tmp_path / "conf.d" / "x.yml").mkdir(parents=True)
        with pytest.raises(ConfigError, match=r"conf\.d/x\.yml: Is a directory"):
            load(main)

    @pytest.mark.parametrize(
        "text",
        [
            b"a: b: c",
            b"keys: [",
            b"\tx: 1",
            b"x: \xff",
            b"x: \x00",
            b"a: 1\n---\nb: 2",
            b"? [a]\n: 1",
            b"x: !!python/object/apply:os.system [true]",
            b"x: 2026-13-45",
            b"x: 0x_",
        ],
    )
    def test_no_yaml(self, tmp_path: Path, text: bytes) -> None:
        """A broken file is told by its path; a tag runs no code."""
        file = written(tmp_path / "main.yml", text)
        with pytest.raises(ConfigError, match="no valid YAML") as caught:
            load(file)
        assert str(caught.value).startswith(f"{file}: ")


class TestSecrets:
    """Files with a secret in them."""

    @pytest.mark.parametrize(
        ("content", "secret"),
        [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            (" with blanks \n", " with blanks "),
            ("p\u00e4ss\n", "p\u00e4ss"),
        ],
    )
    def test_from_a_file(self, tmp_path: Path, content: str, secret: str) -> None:
        """The line without its end, and nothing else taken away."""
        assert read_secret(written(tmp_path / "ami.secret", content)) == secret

    def test_a_credential_comes_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What systemd hands in under the file's name is read instead, the file there or not."""
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
        written(tmp_path / "credentials" / "ami.secret", "of systemd\n")
        assert read_secret(written(tmp_path / "ami.secret", "of the file\n")) == "of systemd"
        assert read_secret("/nowhere/ami.secret") == "of systemd"

    def test_no_such_credential(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Others that systemd hands in do not get in the way of the file."""
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
        written(tmp_path / "credentials" / "tls.key", "another\n")
        assert read_secret(written(tmp_path / "ami.secret", "of the file\n")) == "of the file"

    def test_an_empty_credential(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It stands for a file that was not there when systemd looked; so the file counts."""
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
        written(tmp_path / "credentials" / "ami.secret", "\n")
        assert read_secret(written(tmp_path / "ami.secret", "of the file\n")) == "of the file"
        with pytest.raises(
            ConfigError, match=r"^/nowhere/ami\.secret: this file must hold the secret"
        ):
            read_secret("/nowhere/ami.secret")

    def test_missing(self, tmp_path: Path) -> None:
        """The path is told, and what should be there."""
        file = tmp_path / "ami.secret"
        with pytest.raises(ConfigError) as caught:
            read_secret(str(file))
        assert str(caught.value) == (
            f"{file}: this file must hold the secret: No such file or directory"
        )

    @pytest.mark.parametrize(
        "content", ["", "\n", "\r\n\n", "one\ntwo\n", "a\0b", "a\tb", "a\x1b[0m"]
    )
    def test_no_secret(self, tmp_path: Path, content: str) -> None:
        """Empty, of several lines, or with signs that nobody types: refused, and not shown."""
        file = written(tmp_path / "ami.secret", content)
        with pytest.raises(ConfigError) as caught:
            read_secret(file)
        assert str(caught.value) == f"{file}: this file must hold one line, the secret"

    def test_binary(self, tmp_path: Path) -> None:
        """Bytes that are no text are no secret, and stay out of the message."""
        file = written(tmp_path / "ami.secret", b"hunter2\xff\xfe\n")
        with pytest.raises(ConfigError, match="this file must hold the secret") as caught:
            read_secret(file)
        assert str(caught.value).startswith(f"{file}: ")
        assert "hunter2" not in str(caught.value)


class TestWebhookSecrets:
    """The keys of a webhook."""

    def test_lines(self, tmp_path: Path) -> None:
        """One in a line, in that order."""
        first, second = (f"whsec_{letter * 40}" for letter in "AB")
        file = written(tmp_path / "crm.whsec", f"{first}\n{second}\n")
        keys = read_webhook_secrets(file)
        assert [len(key) for key in keys] == [30, 30]
        assert keys[0] == bytes(30)

    def test_wrong(self, tmp_path: Path) -> None:
        """The error names the file, and not what stands in it."""
        file = written(tmp_path / "crm.whsec", "hush")
        with pytest.raises(ConfigError) as caught:
            read_webhook_secrets(file)
        assert file in str(caught.value)
        assert "hush" not in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        """A file that is not there is named."""
        with pytest.raises(ConfigError, match=r"crm\.whsec: this file must hold the secret: No"):
            read_webhook_secrets(str(tmp_path / "crm.whsec"))


class TestStore:
    """What belongs to the store, and is no part of it."""

    def test_operator_key(self) -> None:
        """Beside the file; for a database in a directory of this host."""
        for store, file in (
            (StoreConfig(), "/var/lib/c2c-agent/operator.key"),
            (StoreConfig(path="/srv/x/c2c.sqlite3"), "/srv/x/operator.key"),
            (StoreConfig(path="c2c.sqlite3"), "operator.key"),
            (StoreConfig(url="postgresql://db/c2c"), "/var/lib/c2c-agent/operator.key"),
            (StoreConfig(url="postgresql://db/c2c", directory="/srv/a"), "/srv/a/operator.key"),
        ):
            config = Config(server_id="pbx1", store=store, asterisk=None)
            assert operator_file(config) == Path(file)

    def test_password(self, tmp_path: Path) -> None:
        """From its file, if there is to be one."""
        url = "postgresql://c2c@db/c2c"
        config = Config(server_id="pbx1", store=StoreConfig(url=url), asterisk=None)
        assert store_password(config) is None
        file = written(tmp_path / "database.password", "hush\n")
        store = StoreConfig(url=url, password_file=file)
        assert store_password(Config(server_id="pbx1", store=store, asterisk=None)) == "hush"
