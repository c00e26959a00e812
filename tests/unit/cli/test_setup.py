"""`c2c-agent key new`: a key, and the lines for the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from c2c_agent.__main__ import main
from c2c_agent.config import files as configfile
from c2c_agent.policy.keys import key_digest
from tests.unit.cli.prompt import assert_plain_error, configure


class TestKeyNew:
    """`c2c-agent key new NAME`."""

    def made(self, name: str) -> tuple[str, dict[str, Any]]:
        """A new key, and the configuration's entry, read as YAML."""
        done = CliRunner().invoke(main, ["key", "new", name])
        assert done.exit_code == 0
        secret, *lines = [line for line in done.stdout.splitlines() if line.startswith("    ")]
        [entry] = yaml.safe_load("\n".join(["keys:", *lines]))["keys"]
        return secret.strip(), entry

    def test_both(self) -> None:
        """The key, this once, and its hash for the configuration; it may dial nothing yet."""
        secret, entry = self.made("crm")
        assert entry == {"name": "crm", "sha256": key_digest(secret), "allow": []}
        assert secret != self.made("crm")[0]

    @pytest.mark.parametrize("name", ["17", "true", "null", "1e5", "0x1", "2015-06-30", "-", "."])
    def test_names_that_yaml_would_read_otherwise(self, name: str, tmp_path: Path) -> None:
        """What is printed can be put into the configuration as it is."""
        _, entry = self.made(name)
        assert entry["name"] == name
        config = configfile.load(str(configure(tmp_path, keys=[entry])))
        assert [key.name for key in config.keys] == [name]

    @pytest.mark.parametrize("name", ["", "a b", "a: b", "\u00e4", "x" * 65, "operator"])
    def test_names_that_no_key_can_have(self, name: str) -> None:
        """Said now, not when the agent is started with it; and no key is made."""
        done = CliRunner().invoke(main, ["key", "new", "--", name])
        assert_plain_error(done, "name")
        assert done.stdout == ""
