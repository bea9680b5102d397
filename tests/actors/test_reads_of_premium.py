"""Feed and loader read the premium index if a strategy wants it and the venue has it."""

from __future__ import annotations

import numpy as np

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Series
from tests.actors.generated_port import (
    CHOICES,
    LOADED_MS,
    MARKET,
    START_MS,
    GeneratedPort,
    clock_at,
    feed_for_five_hours,
    load_panels,
)
from tests.actors.test_feed import BAR_MS, Clock


class Port(GeneratedPort):
    """The port with the premium index, or without one."""

    def __init__(self, clock: Clock, listed: bool) -> None:
        super().__init__(clock, listed, "premium_index")

    async def premium_index(self, since_ms: int, until_ms: int) -> Series:
        assert self.listed, "a premium index was read that the venue lacks"
        return MARKET.premium_index(since_ms, min(until_ms, self.clock.ms))


@CHOICES
async def test_the_feed_sends_each_premium_index_once_with_the_bar_that_closes_then(
    wanted: bool, listed: bool
) -> None:
    clock = clock_at()
    sent = await feed_for_five_hours(Port(clock, listed), premium_wanted=wanted)
    times = [at_ms for message in sent for at_ms in message.premium_ms.tolist()]
    if not (wanted and listed):
        assert times == []
        return
    assert times == [START_MS + hour * HOUR_MS for hour in range(1, 6)]
    seen = [message for message in sent if len(message.premium_ms)]
    premium = np.concatenate([message.premium for message in seen])
    expected = MARKET.premium_index(START_MS, clock.ms).values[:, 1:3]
    np.testing.assert_array_equal(premium, expected)
    for message in seen:
        assert (message.premium_ms > message.cycle_at_ms - BAR_MS).all()
        assert (message.premium_ms <= message.cycle_at_ms).all()


@CHOICES
def test_a_loaded_panel_has_the_premium_index_of_its_history_if_both_sides_have_it(
    wanted: bool, listed: bool
) -> None:
    clock = clock_at(LOADED_MS)
    hours = 30 if wanted else 0
    loaded_panels = load_panels(Port(clock, listed), lambda panel: panel.keep_premium(hours))
    for part, loaded in enumerate(loaded_panels):
        times, values = loaded.panel.premium(clock.ms)
        if not (wanted and listed):
            assert np.isnan(values).all()
            continue
        newest_ms = START_MS + 3 * DAY_MS
        series = MARKET.premium_index(newest_ms - 30 * HOUR_MS, clock.ms)
        chosen = series.values[:, 2 * part : 2 * part + 2]
        for column in times.T:
            np.testing.assert_array_equal(column, series.available_ms)
        np.testing.assert_array_equal(values[:, 0], chosen)
        assert loaded.premium_at_ms == newest_ms
        loaded.take_premium(series.available_ms, 2 * chosen)  # nothing is newer
        np.testing.assert_array_equal(loaded.panel.premium(clock.ms)[1], values)
