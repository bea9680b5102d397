"""A scanner that the feed sends each bar scores as one that loads its history."""

from __future__ import annotations

from typing import Any

import numpy as np
import trio

from kamou.actors.feed import Feed, FeedShard
from kamou.actors.panel_loader import PanelLoader, split_symbols
from kamou.actors.scanner import Scanner
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import Panel
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import Strategy
from kamou.core.strategies.evaluation import StrategyFailure, check_strategies
from kamou.core.strategies.macro import Macro, MacroParameters
from kamou.core.strategies.ratio_fade import RatioFade, RatioFadeParameters
from kamou.messages.market import BarsClosed
from kamou.messages.signals import ShardRanked
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings
from tests.actors.generated_port import MARKET, START_MS
from tests.actors.test_feed import BAR_MS, Clock
from tests.actors.test_reads_of_ratios import Port

STRATEGIES: dict[str, Strategy] = {
    "macro": Macro(MacroParameters(window_days=2, half_life_days=1, horizon_hours=5, z_entry=0)),
    "ratio_fade": RatioFade(RatioFadeParameters(window_days=2, warmup_hours=20, z_entry=0)),
}
PARTS = split_symbols(MARKET.symbols, 2)


class Sent:
    """An outbox that keeps what is put into it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def put_nowait(self, message: object) -> None:
        self.messages.append(message)


def raise_failure(failure: StrategyFailure) -> None:
    raise failure.error


def new_panel(symbols: tuple[str, ...]) -> Panel:
    return make_panel(STRATEGIES.values(), symbols, BAR_MS)


def make_scanner(index: int, panels: PanelLoader, clock: Clock, veto: Any) -> Scanner:
    return Scanner(
        index=index,
        inbox=Mailbox(f"scanner-{index}", 1, now_ms=clock.now_ms),
        clock=clock,
        panels=panels,
        symbols=PARTS[index].symbols,
        strategies=check_strategies(STRATEGIES, BAR_MS),
        veto=veto,
        on_strategy_failed=raise_failure,
        handler_deadline_s=30,
    )


def make_feed(port: Any, clock: Clock, inboxes: list[Any]) -> Feed:
    shards = [
        FeedShard(index=index, symbols=part.symbols, columns=part.columns, inbox=inboxes[index])
        for index, part in enumerate(PARTS)
    ]
    return Feed(
        inbox=Mailbox("feed", 1, now_ms=clock.now_ms),
        clock=clock,
        port=port,
        shards=shards,
        cycle=CycleSettings(period_s=BAR_MS // 1000),
        period_ms=BAR_MS,
        handler_deadline_s=1.0,
        on_cycle=lambda _cycle: None,
        ratios_wanted=True,
    )


async def test_scores_of_macro_and_ratio_fade_are_the_same_from_messages_and_after_a_load() -> None:
    clock = Clock()
    clock.ms = START_MS + 9 * DAY_MS
    port: Any = Port(clock, listed=True)
    panels = PanelLoader(port=port, clock=clock, parts=PARTS, new_panel=new_panel)
    inboxes, ranked = [Sent() for _ in PARTS], [Sent() for _ in PARTS]
    scanners = [make_scanner(index, panels, clock, ranked[index]) for index in range(len(PARTS))]
    for scanner in scanners:
        await scanner.recover()
    feed = make_feed(port, clock, [*inboxes])
    await feed.recover()
    while clock.ms < START_MS + 9 * DAY_MS + 7 * HOUR_MS:
        due_ms = feed.next_due_ms()
        assert due_ms is not None
        clock.ms = due_ms
        await feed.tick()
        for scanner, sent in zip(scanners, inboxes, strict=True):
            message: BarsClosed = sent.messages[-1]
            bars = MARKET.bars(BAR_MS, message.cycle_at_ms - BAR_MS, message.cycle_at_ms)
            market = find_market_rows(bars.symbols, bars.open, bars.close)
            np.testing.assert_array_equal(message.market, market)
            await scanner.handle(message)
        await trio.lowlevel.checkpoint()
    for index, sent in enumerate(ranked):
        loaded = (await panels.load(index)).panel
        last: ShardRanked = sent.messages[-1]
        assert last.bar_closed_at_ms == loaded.close_ms
        for found, strategy in zip(last.columns, STRATEGIES.values(), strict=True):
            expected = strategy.evaluate(loaded, clock.ms)
            np.testing.assert_array_equal(found.features, expected.features)
            np.testing.assert_array_equal(found.score, expected.score)
            np.testing.assert_array_equal(found.abstain, expected.abstain)
            assert np.isfinite(found.features[0]).all()
