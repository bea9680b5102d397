"""Garbage collections of long runs: rarer while they last, as before afterwards."""

from __future__ import annotations

import gc

from kamou.runtime.heap import ALLOCATIONS_BETWEEN, rare_collections


def test_collections_are_rare_until_the_block_ends_even_by_an_error() -> None:
    before = gc.get_threshold()
    inside = fail_inside()
    assert inside == (ALLOCATIONS_BETWEEN, *before[1:])
    assert gc.get_threshold() == before


def fail_inside() -> tuple[int, int, int]:
    """Return the thresholds in a block that an error ends."""
    try:
        with rare_collections():
            inside = gc.get_threshold()
            raise KeyError
    except KeyError:
        return inside
