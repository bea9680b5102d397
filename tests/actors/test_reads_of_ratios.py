"""Feed and loader read long/short ratios if a strategy wants them and the venue has them."""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import RatioSeries, Series
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


def list_ratios(since_ms: int, until_ms: int) -> RatioSeries:
    """Return the market's ratios, with twice as many top traders long."""
    ratios = MARKET.long_short_ratios(since_ms, until_ms)
    return RatioSeries(**attrs.asdict(ratios, recurse=False), top_traders=2 * ratios.values)


class Port(GeneratedPort):
    """The port with long/short ratios, or without any."""

    def __init__(self, clock: Clock, listed: bool) -> None:
        super().__init__(clock, listed, "long_short_ratio")

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        assert self.listed, "ratios were read that the venue lacks"
        return list_ratios(since_ms, min(until_ms, self.clock.ms))


@CHOICES
async def test_the_feed_sends_each_ratio_once_if_a_strategy_wants_it_and_the_venue_has_it(
    wanted: bool, listed: bool
) -> None:
    clock = clock_at()
    sent = await feed_for_five_hours(Port(clock, listed), ratios_wanted=wanted)
    times = [at_ms for message in sent for at_ms in message.ratios_ms.tolist()]
    if not (wanted and listed):
        assert times == []
        return
    assert times == [START_MS + hour * HOUR_MS for hour in range(1, 6)]
    expected = list_ratios(START_MS, clock.ms)
    seen = [message for message in sent if len(message.ratios_ms)]
    ratios = np.concatenate([message.ratios for message in seen])
    np.testing.assert_array_equal(ratios, expected.values[:, 1:3])
    top = np.concatenate([message.top_ratios for message in seen])
    np.testing.assert_array_equal(top, expected.top_traders[:, 1:3])
    for message in sent:  # a ratio comes with the first bar that closes when it is available
        assert (message.ratios_ms > message.cycle_at_ms - BAR_MS).all()
        assert (message.ratios_ms <= message.cycle_at_ms).all()


@CHOICES
def test_a_loaded_panel_has_the_ratios_of_its_history_if_both_sides_have_them(
    wanted: bool, listed: bool
) -> None:
    clock = clock_at(LOADED_MS)
    hours = 30 if wanted else 0
    loaded_panels = load_panels(Port(clock, listed), lambda panel: panel.keep_ratios(hours))
    for part, loaded in enumerate(loaded_panels):
        times, logs = loaded.panel.ratios(clock.ms)
        if not (wanted and listed):
            assert np.isnan(logs).all()
            continue
        newest_ms = START_MS + 3 * DAY_MS
        series = list_ratios(newest_ms - 30 * HOUR_MS, clock.ms)
        columns = slice(2 * part, 2 * part + 2)
        for column in times.T:
            np.testing.assert_array_equal(column, series.available_ms)
        np.testing.assert_allclose(np.exp(logs[:, 0]), series.values[:, columns])
        np.testing.assert_allclose(np.exp(logs[:, 1]), series.top_traders[:, columns])
        seen = loaded.ratios_at_ms
        loaded.take_ratios(
            series.available_ms, series.values[:, columns], series.values[:, columns]
        )
        assert loaded.ratios_at_ms == seen == newest_ms
        np.testing.assert_array_equal(loaded.panel.ratios(clock.ms)[1], logs)
