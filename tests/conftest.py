"""What every test gets: Trio schedules ready tasks in an order seeded by the test's name."""

from __future__ import annotations

import hashlib

import pytest

from kamou.determinism import seed_scheduler


@pytest.fixture(autouse=True)
def _seeded_scheduler(request: pytest.FixtureRequest) -> None:
    """A failure that depends on the order of tasks comes back with the same test."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    seed_scheduler(int.from_bytes(digest[:8], "big"))
