"""Fixture of a story. Its directory is on the path for the tests below."""

from __future__ import annotations

import pytest
from trading_cases import Story


@pytest.fixture
def story() -> Story:
    """Return a story: run started, day opened, reconciled, without a position."""
    made = Story()
    made.ready()
    return made
