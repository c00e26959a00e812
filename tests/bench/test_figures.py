"""The table on a page."""

from __future__ import annotations

import pytest

from tests.bench.figures import Figure, at_most, on_page

_PAGE = """# Performance

<!-- figures: from here on scripts/bench --page writes -->
what was there
<!-- figures: up to here -->

More words.
"""

_FIGURE = Figure(
    "latency", "p50", [8.1, 6.1, 9.8], at_most(8), unit="ms", behind={"bare, ms": [0.2, 0.3, 0.4]}
)


def test_the_table_stands_in_the_place_of_the_one_before() -> None:
    """With the machine, and the words around it as they were."""
    page = on_page(_PAGE, {"Python": "3.11.7"}, [_FIGURE])
    assert page.startswith("# Performance\n\n<!-- figures: from")
    assert "| latency | p50, ms | <= 8 | 8.1 | 6.1 | 9.8 | **no** | bare, ms: 0.3 |\n" in page
    assert "Measured on: Python: 3.11.7." in page
    assert "what was there" not in page
    assert page.endswith("up to here -->\n\nMore words.\n")
    assert on_page(page, {"Python": "3.11.7"}, [_FIGURE]) == page


def test_a_page_that_has_no_place_for_it() -> None:
    """Nothing is written anywhere else."""
    with pytest.raises(ValueError, match="does not have both"):
        on_page("# Performance", {}, [])
