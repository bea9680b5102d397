"""Shadow trades end as orders of the embedded venue do: one position, without limits of depth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kamou.core.book.candidate_events import RefinedCandidate
from kamou.core.book.shadow_events import ClosedShadowTrade, ShadowTrade
from kamou.core.day import HOUR_MS
from kamou.core.kinds import FillReason, RefinerVerdict
from kamou.core.market.fill_prices import PriceModels
from kamou.core.model import Candidate, OrderType, Side, TimeInForce
from kamou.core.risk.limits import CostModel, TradingParameters
from kamou.core.risk.planning import EntryMarket
from kamou.core.shadow.closing import ShadowBar, ShadowWatch, close_shadow_trade, sum_funding
from kamou.core.shadow.opening import JudgedCandidate, ShadowTerms, open_shadow_trade
from kamou.settings.config import ExchangeSettings
from kamou.settings.price_models import make_price_models
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from tests.venue.memory_market import ATR, START_MS, STEP_MS, Bar, MemoryMarket, instrument
from tests.venue.venue_orders import D, engine_at, order

COSTS = CostModel(slippage_bps=D(3), taker_bps=D(6), maker_bps=D(2))
EXCHANGE = ExchangeSettings(latency_ms=0)
MODELS: PriceModels = make_price_models(EXCHANGE, COSTS)
TICK = D("0.00001")
ENTERED = 2  # bar at whose open the trade opens
BARS = 40
INTERVAL_H = 1


def draw_path(rng: np.random.Generator) -> list[Bar]:
    """Return bars that may open with a gap, but not at a full hour or before a time limit."""
    bars: list[Bar] = []
    price = 100.0
    for number in range(BARS):
        quiet = number <= ENTERED or number % 12 == 0 or number % 6 == 0
        first = price if quiet else round(price + rng.choice([0, 0, 0, rng.normal(0, 1.5)]), 2)
        scale = 3.0 if rng.random() < 0.06 else 0.4
        last = round(first + rng.normal(0, scale), 2)
        high = round(max(first, last) + abs(rng.normal(0, 0.3)), 2)
        low = round(min(first, last) - abs(rng.normal(0, 0.3)), 2)
        if number < ENTERED:
            first = last = 100.0
            high, low = 100.2, 99.8
        bars.append((float(first), float(high), float(low), float(last), 1e9))
        price = float(last)
    return bars


def open_trade(rng: np.random.Generator, engine: Engine) -> ShadowTrade:
    side = Side.LONG if rng.random() < 0.5 else Side.SHORT
    candidate = Candidate(
        signal_id="e",
        strategy="any",
        symbol="AAA",
        side=side,
        score=0.5,
        close=100.0,
        stop_distance=float(rng.uniform(0.8, 4)),
        target_distance=float(rng.uniform(0.8, 5)),
        hold_ms=int(rng.integers(1, 6)) * 6 * STEP_MS - (ENTERED * STEP_MS),
        bar_opened_at_ms=START_MS,
        bar_closed_at_ms=START_MS + STEP_MS,
    )
    refined = RefinedCandidate(
        candidate=candidate, verdict=RefinerVerdict.OFF, size_multiplier=D(1), reason_code=""
    )
    market = EntryMarket(
        instrument=engine.instruments["AAA"],
        quote=engine.quotes(("AAA",))["AAA"],
        gap=D("0.25"),
    )
    terms = ShadowTerms(equity=D(10_000), parameters=TradingParameters(costs=COSTS), models=MODELS)
    made = open_shadow_trade(
        JudgedCandidate(refined=refined), market, terms, START_MS + ENTERED * STEP_MS
    )
    assert isinstance(made, ShadowTrade), made
    return made


def trade_at_the_venue(engine: Engine, trade: ShadowTrade) -> None:
    """Send the orders of the trade, and one that closes it at its time limit."""
    opening, closing = trade.side.opening, trade.side.closing
    size = str(trade.quantity)
    engine.place(
        order(
            "e",
            opening,
            size,
            type=OrderType.LIMIT,
            limit_price=trade.planned_entry,
            time_in_force=TimeInForce.IOC,
            leverage=2,
        ),
        (
            order(
                "stop",
                closing,
                size,
                type=OrderType.STOP_MARKET,
                trigger_price=trade.stop_price,
                reduce_only=True,
            ),
            order(
                "target",
                closing,
                size,
                type=OrderType.LIMIT,
                limit_price=trade.target_price,
                reduce_only=True,
            ),
        ),
    )
    engine.advance(trade.closes_by_ms)
    if engine.positions():
        engine.place(order("limit", closing, size, reduce_only=True), ())


def follow_bars(trade: ShadowTrade, bars: list[Bar], rates: dict[int, float]) -> ClosedShadowTrade:
    watch = ShadowWatch(trade=trade)
    for number, (first, high, low, last, _) in enumerate(bars):
        opened = START_MS + number * STEP_MS
        bar = ShadowBar(
            opened_at_ms=opened,
            closed_at_ms=opened + STEP_MS,
            open=first,
            high=high,
            low=low,
            close=last,
            range_atr=(high - low) / ATR,
        )
        watch.apply(bar, MODELS, TICK)
    assert watch.exit is not None
    listed = instrument(tick=TICK, funding_interval_h=INTERVAL_H)
    return close_shadow_trade(trade, watch.exit, sum_funding(watch, rates, listed, MODELS))


@pytest.mark.parametrize("seed", range(4))
def test_a_shadow_trade_has_the_fills_fees_and_funding_of_the_same_orders_at_the_venue(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    ends: Counter[str] = Counter()
    for _ in range(60):
        bars = draw_path(rng)
        rates = {
            START_MS + hour * HOUR_MS: round(float(rng.normal(0, 0.002)), 6)
            for hour in range(1, 4)
            if rng.random() < 0.7
        }
        listed = instrument(
            tick=TICK, funding_interval_h=INTERVAL_H, taker_fee=D("0.0006"), maker_fee=D("0.0002")
        )
        market = MemoryMarket(
            {"AAA": bars}, instruments=(listed,), funding=dict(rates), half_spread_bps=2.0
        )
        models = VenueModels.from_settings(EXCHANGE, COSTS)
        engine = engine_at(market, ENTERED, models=models, balance="100000")
        trade = open_trade(rng, engine)
        trade_at_the_venue(engine, trade)
        entry, exit_ = engine.fills(0)
        assert exit_.reason is FillReason.ORDER
        done = follow_bars(trade, bars, rates)
        ends[exit_.client_order_id] += 1
        reason = {"stop": "stop_loss", "target": "take_profit", "limit": "time_limit"}
        assert done.reason == reason[exit_.client_order_id]
        assert done.closed_at_ms == exit_.at_ms
        assert abs(trade.entry_price - entry.price) <= 2 * TICK
        assert abs(done.exit_price - exit_.price) <= 2 * TICK
        assert trade.quantity == entry.quantity == exit_.quantity
        assert abs(done.fees - entry.fee - exit_.fee) < D("0.001")
        assert abs(done.slippage - entry.slippage - exit_.slippage) < D("0.01")
        paid = sum(income.amount for income in engine.income(0))
        assert abs(done.funding - paid) < D("0.001")
        earned = engine.account().wallet_balance - 100_000
        assert abs(done.pnl - earned) < D("0.01")
        assert abs(done.r - earned / trade.planned_risk) < D("0.0005")
    assert set(ends) == {"stop", "target", "limit"}
