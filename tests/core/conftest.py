"""Puts this folder on the path: the tests of every room below build on its values."""

from __future__ import annotations

import pytest
from trading_cases import Story


@pytest.fixture
def story() -> Story:
    """A run that has started, opened its day and reconciled; nothing is held."""
    made = Story()
    made.ready()
    return made
