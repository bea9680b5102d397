"""Fixtures: both listeners, and a clock that jumps over waits."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.http.rough_client import Application, make_operator_application, make_public_application


@pytest.fixture(
    scope="module",
    params=[make_public_application, make_operator_application],
    ids=["public", "operator"],
)
def application(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Application:
    """Return the application of the public site or of the operator's listener."""
    made: Application = request.param(tmp_path_factory.mktemp("application"))
    return made


@pytest.fixture
def jumping_clock(autojump_clock: MockClock) -> MockClock:
    """Return a clock of simulated time that jumps when all tasks wait.

    The kernel may delay a loopback packet while all tasks wait, so time jumps only after 20 ms.
    """
    autojump_clock.autojump_threshold = 0.02
    return autojump_clock
