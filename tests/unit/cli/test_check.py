"""`c2c-agent check`: what it prints, and its exit status."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from c2c_agent.check.finding import Finding
from tests.unit.cli.prompt import configure, run


class TestCheck:
    """`c2c-agent check`: how findings are shown. What is checked stands in tests/unit/check."""

    @pytest.fixture(autouse=True)
    def findings(self, monkeypatch: pytest.MonkeyPatch) -> list[Finding | Exception]:
        """What the checks find, and a reactor that is not the real one."""
        found: list[Finding | Exception] = [Finding("configuration", "2 keys, server_id pbx1")]

        async def checks(*_arguments: object) -> AsyncIterator[Finding]:
            for finding in found:
                if isinstance(finding, Exception):
                    raise finding
                yield finding

        def react(begin: Callable[[Any], Any]) -> None:
            """Do as twisted.internet.task.react does."""
            ended: list[Any] = []
            begin(MemoryReactorClock()).addBoth(ended.append)
            sys.exit(0 if ended == [None] else 1)

        monkeypatch.setattr("c2c_agent.check.run.run", checks)
        monkeypatch.setattr("twisted.internet.task.react", react)
        return found

    def test_all_is_well(self, tmp_path: Path) -> None:
        """A line for each finding, exit status 0."""
        configure(tmp_path)
        done = run(tmp_path, "check")
        assert (done.exit_code, done.stdout) == (0, "ok   configuration: 2 keys, server_id pbx1\n")

    def test_a_failure(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """What to do stands below it; exit status 1."""
        configure(tmp_path)
        findings.append(Finding("AMI login", "refused", "Compare the secrets."))
        done = run(tmp_path, "check")
        assert done.exit_code == 1
        assert done.stdout.splitlines()[1:] == [
            "FAIL AMI login: refused",
            "     -> Compare the secrets.",
        ]

    def test_a_warning(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """It stands out, but calls work: exit status 0."""
        configure(tmp_path)
        findings.append(Finding("key crm", "may dial any number", "Narrow it.", warning=True))
        done = run(tmp_path, "check")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-2:] == [
            "WARN key crm: may dial any number",
            "     -> Narrow it.",
        ]

    def test_json(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """One list, for programs; the exit status is the same."""
        configure(tmp_path)
        findings.append(Finding("AMI login", "refused", "Compare the secrets."))
        done = run(tmp_path, "check", "--json")
        assert done.exit_code == 1
        assert json.loads(done.stdout) == [
            {
                "ok": True,
                "name": "configuration",
                "message": "2 keys, server_id pbx1",
                "advice": "",
                "warning": False,
            },
            {
                "ok": False,
                "name": "AMI login",
                "message": "refused",
                "advice": "Compare the secrets.",
                "warning": False,
            },
        ]

    def test_bad_configuration(self, tmp_path: Path) -> None:
        """The first finding is the configuration itself, as text and as JSON."""
        configure(tmp_path, calls={"timeout": "soon"})
        done = run(tmp_path, "check")
        assert done.exit_code == 1
        assert done.stdout.startswith("FAIL configuration: ")
        assert "calls.timeout" in done.stdout
        assert done.stdout.endswith("     -> Correct this, and check again.\n")
        done = run(tmp_path, "check", "--json")
        assert done.exit_code == 1
        [finding] = json.loads(done.stdout)
        assert (finding["ok"], finding["name"]) == (False, "configuration")

    @pytest.mark.parametrize("how", [[], ["--json"]])
    def test_cut_short(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]
    ) -> None:
        """By a signal, for which Twisted's own exit status is 0: it found out nothing."""

        def react(begin: Callable[[Any], Any]) -> None:
            begin(MemoryReactorClock())
            sys.exit(0)

        async def checks(*_arguments: object) -> AsyncIterator[Finding]:
            yield Finding("configuration", "2 keys, server_id pbx1")
            await Deferred()

        monkeypatch.setattr("c2c_agent.check.run.run", checks)
        monkeypatch.setattr("twisted.internet.task.react", react)
        configure(tmp_path)
        done = run(tmp_path, "check", *how)
        assert done.exit_code == 1
        assert "2 keys" in done.stdout
        assert "The check was stopped before its end" in done.stdout

    def test_a_mistake_of_ours(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """No clean bill of health: exit status 1."""
        configure(tmp_path)
        findings.append(ZeroDivisionError())
        assert run(tmp_path, "check").exit_code == 1
