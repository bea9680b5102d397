"""How long a stateful test looks: briefly in ``make test``, longer when asked to."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONGER = 40  # times as many examples with HYPOTHESIS_PROFILE=long


def looks(examples: int, steps: int) -> settings:
    """Settings of a state machine: so many runs, so many steps each."""
    long = os.environ.get("HYPOTHESIS_PROFILE") == "long"
    return settings(
        max_examples=examples * (LONGER if long else 1),
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
