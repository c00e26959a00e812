"""What pages show from the program itself: all of it, and nothing where it is not described."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from attrs import field, frozen

from c2c_agent.config.rules import Shape, Within
from c2c_agent.config.sections import Config
from c2c_agent.text import described
from c2c_agent.web.operation import description
from docs import tables
from tests.test_man_pages import settings

_COUNT: Final = Within(1, 9, "calls")


@frozen
class Below:
    """A section."""

    count: int = field(default=3, validator=_COUNT, metadata=described("How many."))
    word: str = field(
        validator=Shape(re.compile("[a-z]"), "a letter"),
        metadata=described("Which | one."),
        kw_only=True,
    )


@frozen
class Whole:
    """A configuration."""

    on: bool = field(default=False, metadata=described("Whether."))
    below: Below | None = field(default=None, metadata=described("What is below."))
    many: Sequence[Below] = field(default=(), metadata=described("Some of them."))
    named: Mapping[str, Below] = field(factory=dict, metadata=described("With names."))
    like: Below | None = field(default=None, metadata=described("As above.", values="a mapping"))


class TestSettings:
    def test_sections(self) -> None:
        """Those without a section of their own first; kinds and defaults from the fields."""
        top, below, many, named = tables.sections(Whole)
        assert top == tables.Section(
            "",
            "",
            [
                tables.Setting("on", "true or false", "`false`", "Whether."),
                tables.Setting("like", "a mapping", "none", "As above."),
            ],
        )
        assert (below.name, below.text) == ("below", "What is below.")
        assert below.settings == [
            tables.Setting("below.count", "1 to 9 calls", "`3`", "How many."),
            tables.Setting("below.word", "a letter", "must be given", "Which | one."),
        ]
        assert [setting.name for setting in many.settings] == ["many[].count", "many[].word"]
        assert named.settings[0].name == "named.<name>.count"

    def test_all(self) -> None:
        """Each setting of the configuration has a heading on the page, so that it can be linked."""
        named = re.findall(r"^#### (.*)$", tables.settings_page(), re.MULTILINE)
        assert sorted(named) == sorted(settings(Config))

    @pytest.mark.parametrize(
        "undescribed",
        [
            field(default=1, validator=_COUNT),
            field(default=1, validator=_COUNT, metadata={"text": ""}),
        ],
    )
    def test_undescribed(self, undescribed: int) -> None:
        """A setting without a description fails the build."""

        @frozen
        class Lacking:
            number: int = undescribed

        with pytest.raises(tables.UndescribedError, match=r"Lacking\.number has no description"):
            list(tables.sections(Lacking))

    def test_undescribed_section(self) -> None:
        """So does a section."""

        @frozen
        class Lacking:
            below: Below | None = None

        with pytest.raises(tables.UndescribedError, match=r"Lacking\.below has no description"):
            list(tables.sections(Lacking))

    def test_unknown_values(self) -> None:
        """A setting of which neither type nor rule says which values it has."""

        @frozen
        class Lacking:
            words: Sequence[str] = field(default=(), metadata=described("Words."))

        with pytest.raises(tables.UndescribedError, match="say which values it can have"):
            list(tables.sections(Lacking))


class TestFilled:
    def test_fences(self) -> None:
        """What is generated takes the place of its fence, and nothing else changes."""
        page = "# Page\n\n```{generated} alerts\n```\n\n```sh\nls\n```\n"
        filled = tables.filled(page)
        assert filled.startswith("# Page\n\n| alert | severity | what it says |\n")
        assert filled.endswith("\n```sh\nls\n```\n")

    def test_unknown(self) -> None:
        """A page cannot ask for what there is not."""
        with pytest.raises(KeyError, match="nothing"):
            tables.filled("```{generated} nothing\n```\n")


class TestHttpApi:
    def test_operations(self) -> None:
        """Each operation has a heading, and its line with method and path."""
        page = tables.http_api()
        for path, operations in description()["paths"].items():
            for method in {"get", "post"}.intersection(operations):
                heading = operations[method]["summary"].rstrip(".")
                assert f"### {heading}\n\n`{method.upper()} {path}`" in page

    def test_links(self) -> None:
        """Each schema that is referred to has a heading."""
        page = tables.http_api()
        headings = {name.lower() for name in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
        assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= headings

    def test_values(self) -> None:
        """What a parameter may be is said in words."""
        page = tables.http_api()
        assert "| `wait` | query | integer from 0 to 60 |" in page
        assert "`asterisk`, `switchvox` or `other` (default `asterisk`)" in page


class TestMetrics:
    def test_labels(self) -> None:
        """Each metric once, with its labels."""
        page = tables.metrics()
        assert "| `c2c_legs_total` | counter | `by`, `leg`, `status` |" in page
        assert "| `c2c_ring_seconds` | histogram | `leg` |" in page
        assert "| `c2c_ami_up` | gauge | `pbx` |" in page
        assert "_created" not in page


class TestAlerts:
    def test_templates(self) -> None:
        """What Prometheus would put in is told in words."""
        page = tables.alerts()
        assert "`C2CAgentDown` | critical | c2c-agent on the host does not answer." in page
        assert "{{" not in page
