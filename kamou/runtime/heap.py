"""How often garbage is collected: ``freeze_heap`` and ``rare_collections``."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS_BETWEEN = 50_000
"""Containers made less those freed between two collections; Python's threshold is 700 (3.11)."""


def freeze_heap() -> None:
    """Collect garbage, and exclude all live objects from later collections.

    A full collection blocks the loop while it visits every object. Most objects after a start are
    modules, classes and results of a fast-forward, which live as long as the process. At 220
    symbols a step of an actor with a full collection took 70 ms of CPU time, and 7 ms without.
    Call this once, on a thread, before trading begins.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage only every ``ALLOCATIONS_BETWEEN`` allocations inside the block.

    For runs over months of bars, of which nobody waits for an answer. Few objects are in reference
    cycles, so the memory grows by a few MB.
    """
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS_BETWEEN, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
