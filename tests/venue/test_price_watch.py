"""``PriceWatch``: quiet intervals are skipped, and every reached level is found."""

from __future__ import annotations

import numpy as np
import pytest

from kamou.venue.market.market import Segment
from kamou.venue.price_watch import PriceWatch

BAR_MS = 300_000


class Path:
    """One symbol at 100, which falls to ``low`` at ``at_ms``; it counts its reads."""

    def __init__(self, low: float, at_ms: int) -> None:
        self.low, self.at_ms, self.reads = low, at_ms, 0

    def __call__(self, from_ms: int, to_ms: int) -> Segment:
        self.reads += 1
        low = self.low if from_ms < self.at_ms <= to_ms else 100.0
        flat, one = np.array([100.0]), np.ones(1)
        return Segment(
            open=flat, high=flat, low=np.array([low]), close=flat, volume=one, range_atr=one
        )


def watch_below(level: float) -> PriceWatch:
    return PriceWatch(np.array([level]), np.array([np.inf]), BAR_MS)


@pytest.fixture
def watch() -> PriceWatch:
    return watch_below(98.0)


def test_the_path_of_a_quiet_bar_is_read_once(watch: PriceWatch) -> None:
    path = Path(99.0, 200_000)
    assert watch.is_quiet(0, 1_000, path)
    assert watch.is_quiet(1_000, 250_000, path)
    assert watch.is_quiet(250_000, BAR_MS, path)
    assert path.reads == 1


def test_a_level_that_is_reached_late_in_a_bar_leaves_its_start_quiet(watch: PriceWatch) -> None:
    path = Path(97.0, 200_000)
    assert watch.is_quiet(0, 1_000, path)
    assert not watch.is_quiet(1_000, 250_000, path)


def test_a_watch_of_a_new_level_reads_the_rest_of_the_bar_again(watch: PriceWatch) -> None:
    path = Path(99.0, 200_000)
    assert watch.is_quiet(0, 1_000, path)
    assert not watch_below(99.5).is_quiet(1_000, 250_000, path)


def test_the_path_of_each_interval_of_many_bars_is_read_once(watch: PriceWatch) -> None:
    path = Path(97.0, 5 * BAR_MS)
    assert watch.is_quiet(0, 4 * BAR_MS, path)
    assert not watch.is_quiet(4 * BAR_MS, 6 * BAR_MS, path)
    assert path.reads == 2
