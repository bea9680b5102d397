"""Fixture of a story."""

from __future__ import annotations

import pytest

from tests.core.trading_cases import Story


@pytest.fixture
def story() -> Story:
    """Return a story: run started, day opened, reconciled, without a position."""
    made = Story()
    made.ready()
    return made
