"""The phases of a run, as the operator sees them."""

from __future__ import annotations

from enum import StrEnum


class RunPhase(StrEnum):
    """What a run does."""

    STARTING = "starting"
    FAST_FORWARD = "fast-forward"  # through simulated or recorded days
    TRADING = "trading"
    REPLAYED = "replayed"  # the replay has ended, and the site stays
    STOPPING = "stopping"


LATCHES_HALTS = (RunPhase.STARTING, RunPhase.FAST_FORWARD, RunPhase.STOPPING)
"""The phases in which a halt sets the halt latch."""
