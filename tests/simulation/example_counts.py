"""The number of examples of stateful tests; HYPOTHESIS_PROFILE=long multiplies it."""

from __future__ import annotations

import os

from hypothesis import settings

LONGER = 40  # times as many examples with HYPOTHESIS_PROFILE=long


def example_settings(examples: int, steps: int) -> settings:
    """Return settings of a state machine: ``examples`` runs of ``steps`` steps."""
    long = os.environ.get("HYPOTHESIS_PROFILE") == "long"
    return settings(
        max_examples=examples * (LONGER if long else 1),
        stateful_step_count=steps,
    )
