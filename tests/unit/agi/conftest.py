"""Lets a playbook show the difference between what was expected and what was played."""

import pytest

pytest.register_assert_rewrite("tests.unit.agi.playbook")
