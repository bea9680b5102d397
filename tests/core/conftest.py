"""Fixture ``story`` of the tests of core."""

from __future__ import annotations

import pytest

from tests.core.trading_cases import Story


@pytest.fixture
def story() -> Story:
    """Return a story with a started run, an open day, a closed cycle and no position."""
    made = Story()
    made.ready()
    return made
