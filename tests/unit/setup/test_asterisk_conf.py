"""Marked blocks in Asterisk's files, and the way back to what a file was."""

from __future__ import annotations

import pytest

from c2c_agent.setup.asterisk_conf import SetupError, block_of, taken_back, without_block
from tests.unit.setup.layouts import (
    ETC,
    PLAIN,
    after,
    found,
)


class TestTakenBack:
    """One file's way back."""

    @pytest.mark.parametrize("text", ["", "a", "a\n", "a\n\n", "a\r\n", "\n"])
    def test_to_the_byte(self, text: str) -> None:
        """Without its block a file is what it was, whatever its end was."""
        files = found({**PLAIN, "extensions.conf": text})
        path = f"{ETC}/extensions.conf"
        assert without_block(after(files)[path]) == text
        assert without_block(text) == text
        assert block_of(text) is None

    def test_line_after_the_block(self) -> None:
        """A line that was added does not run into one that had no end."""
        text = after(found({**PLAIN, "extensions.conf": "a"}))[f"{ETC}/extensions.conf"]
        assert without_block(text + "b\n") == "a\nb\n"

    def test_ours(self) -> None:
        """What is as it was written becomes what it was."""
        back = taken_back("/x", "new", "old", ours=True, blocked=False, block_ours=False)
        assert back == "old"

    def test_edited(self) -> None:
        """An edited file is refused by its name; one that is as before, is not."""
        with pytest.raises(SetupError, match="/x: it was edited since the setup"):
            taken_back("/x", "mine", None, ours=False, blocked=False, block_ours=False)
        back = taken_back("/x", "old", "old", ours=False, blocked=False, block_ours=False)
        assert back == "old"

    def test_edited_around_the_block(self) -> None:
        """The block goes, the edits stay; a file of nothing else goes, too."""
        path = f"{ETC}/extensions.conf"
        text = after(found({**PLAIN, "extensions.conf": ""}))[path]
        back = taken_back(path, f"a\n{text}", "", ours=False, blocked=True, block_ours=True)
        assert back == "a\n"
        assert taken_back(path, text, "", ours=False, blocked=True, block_ours=True) == ""
        assert taken_back(path, text, None, ours=False, blocked=True, block_ours=True) is None

    def test_edited_in_the_block(self) -> None:
        """Refused, until nothing of the block is left."""
        text = after(found(PLAIN))[f"{ETC}/extensions.conf"]
        with pytest.raises(SetupError, match="the block of c2c-agent in it was edited"):
            taken_back("/x", text, "", ours=False, blocked=True, block_ours=False)
        assert taken_back("/x", "a", "", ours=False, blocked=True, block_ours=False) == "a"
