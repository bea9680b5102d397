"""Both listeners, and a clock that does not wait."""

from __future__ import annotations

import pytest
from rough_client import Application, operator_application, public_application
from trio.testing import MockClock


@pytest.fixture(
    scope="module", params=[public_application, operator_application], ids=["public", "operator"]
)
def application(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Application:
    """Each of the two listeners in turn."""
    made: Application = request.param(tmp_path_factory.mktemp("application"))
    return made


@pytest.fixture
def jumping(autojump_clock: MockClock) -> MockClock:
    """Simulated time that jumps when nothing moves.

    The system may hold a loopback packet back while every task waits, so time jumps after some
    silence, and not at once.
    """
    autojump_clock.autojump_threshold = 0.02
    return autojump_clock
