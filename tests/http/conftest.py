"""Both listeners, and a clock that does not wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from rough_client import Application, operator_application, public_application
from trio.testing import MockClock


@pytest.fixture(params=[public_application, operator_application], ids=["public", "operator"])
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Application:
    """Each of the two listeners in turn."""
    made: Application = request.param(tmp_path)
    return made


@pytest.fixture
def jumping(autojump_clock: MockClock) -> MockClock:
    """Simulated time that jumps when nothing moves.

    A loopback packet may be on its way while every task waits, so it jumps after 5 ms of silence.
    """
    autojump_clock.autojump_threshold = 0.005
    return autojump_clock
