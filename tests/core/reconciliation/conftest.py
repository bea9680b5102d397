"""Fixture of a position that book and venue agree on."""

from __future__ import annotations

import pytest

from tests.core.trading_cases import Story
from tests.core.venue_views import PLAN


@pytest.fixture
def holding(story: Story) -> Story:
    """Return a story with 100 contracts long and a confirmed stop, as at the venue."""
    story.open(PLAN)
    return story
