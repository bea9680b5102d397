"""States of markets with planted edges in the venue's file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.venue.checkpoints import keep_checkpoints, run_market_to
from kamou.venue.engine import Engine
from kamou.venue.market.edges import Edge
from kamou.venue.market.generated_day import PathSettings
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
DAY = 21


def make_market(edges: tuple[Edge, ...]) -> GeneratedMarket:
    return GeneratedMarket(
        seed=5,
        origin_ms=ORIGIN_MS,
        symbols=3,
        step_ms=HOUR_MS,
        paths=PathSettings(edges=edges),
    )


def open_engine(path: Path, of: GeneratedMarket) -> Engine:
    """Open the venue's file over this market as a run does."""
    store = VenueStore(path, durable=False)
    keep_checkpoints(of, store)
    return Engine(of, VenueModels(), store, start_ms=ORIGIN_MS, wallet_balance=Decimal(10_000))


def run_into(path: Path, edges: tuple[Edge, ...]) -> None:
    of = make_market(edges)
    engine = open_engine(path, of)
    run_market_to(of, ORIGIN_MS + DAY * DAY_MS, lambda: False)
    engine.close()


def test_a_planted_market_from_a_stored_state_is_the_one_run_from_its_first_day(
    tmp_path: Path,
) -> None:
    path, edges = tmp_path / "venue.db", tuple(Edge)
    run_into(path, edges)
    of, steady = make_market(edges), make_market(edges)
    engine = open_engine(path, of)
    assert of.states.nearest(DAY)[0] == 20, "it starts from a stored state"
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(of.day(DAY), name), getattr(steady.day(DAY), name))
    since, until = ORIGIN_MS + DAY * DAY_MS, ORIGIN_MS + (DAY + 1) * DAY_MS
    for name in ("funding_rates", "long_short_ratios", "premium_index"):
        left, right = (getattr(each, name)(since, until) for each in (of, steady))
        assert np.array_equal(left.values, right.values)
    engine.close()


def test_states_of_a_market_with_other_edges_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "venue.db"
    run_into(path, (Edge.MEAN_REVERSION,))
    for edges in ((), (Edge.OI_MOMENTUM,), tuple(Edge)):
        of = make_market(edges)
        engine = open_engine(path, of)
        assert of.states.nearest(DAY)[0] == 0
        engine.close()
