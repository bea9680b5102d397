"""Put this directory on the path: the tests below import values from it."""

from __future__ import annotations

import pytest
from trading_cases import Story


@pytest.fixture
def story() -> Story:
    """A run that has started, opened its day and reconciled, without a position."""
    made = Story()
    made.ready()
    return made
