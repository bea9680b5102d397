"""Order-flow and trade imbalances agree with their definitions, on vectors and recordings."""

from __future__ import annotations

import csv
import gzip
import heapq
import json
import os
import statistics
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import attrs
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.indicators.order_flow import (
    LEVELS,
    SPREAD,
    TRADE_IMBALANCE,
    WINDOW_FIGURES,
    BookLevels,
    FlowZ,
    find_contributions,
    measure_ofi,
    measure_trade_imbalance,
    split_flow_figures,
)
from kamou.core.market.flow import FLOW_WINDOW_MS
from tests.core.market.single_rows import SingleRows

Quote = tuple[Fraction, Fraction, Fraction, Fraction]  # bid, its quantity, ask, its quantity
# "ofi_L1" of quant.json: bid, quantity, ask, quantity
VECTOR = (
    (100.0, 5.0, 100.5, 4.0),
    (100.0, 7.0, 100.5, 4.0),
    (100.5, 3.0, 101.0, 6.0),
    (100.5, 3.0, 101.0, 2.0),
    (100.0, 9.0, 100.5, 8.0),
    (100.0, 6.0, 100.5, 8.0),
)
WINDOW_S = 10  # of the recordings, which are shorter than two windows of the product


def book_of(rows: list[list[Quote]]) -> BookLevels:
    """Return the quotes ``rows``, each a list of levels."""
    columns = np.array([[[float(x) for x in level] for level in row] for row in rows])
    return BookLevels(
        bid=columns[..., 0], bid_qty=columns[..., 1], ask=columns[..., 2], ask_qty=columns[..., 3]
    )


def contribution_by_definition(old: Quote, new: Quote) -> Fraction:
    """Return the change of demand less the change of supply of one level, case by case."""
    bid, bid_qty, ask, ask_qty = new
    old_bid, old_bid_qty, old_ask, old_ask_qty = old
    if bid > old_bid:
        demand = bid_qty
    elif bid < old_bid:
        demand = -old_bid_qty
    else:
        demand = bid_qty - old_bid_qty
    if ask < old_ask:
        supply = ask_qty
    elif ask > old_ask:
        supply = -old_ask_qty
    else:
        supply = ask_qty - old_ask_qty
    return demand - supply


def ofi_by_definition(quotes: list[Quote]) -> Fraction:
    """Return the OFI of one level; the first quote stood at the start."""
    total = sum(
        (contribution_by_definition(a, b) for a, b in pairwise(quotes)),
        Fraction(0),
    )
    depth = sum((q[1] + q[3] for q in quotes), Fraction(0)) / 2 / len(quotes)
    return total / depth


def test_contributions_and_imbalance_are_those_of_the_reference_vector() -> None:
    book = book_of(
        [[(Fraction(b), Fraction(bq), Fraction(a), Fraction(aq))] for b, bq, a, aq in VECTOR]
    )
    assert find_contributions(book)[:, 0].tolist() == [2.0, 7.0, 4.0, -11.0, -3.0]
    assert measure_ofi(book)[0] == pytest.approx(-0.1846153846153846, rel=1e-12)


def draw_books(seed: int, quotes: int, levels: int) -> list[list[Quote]]:
    chance = np.random.default_rng(seed)
    bids = 100 + np.cumsum(chance.integers(-1, 2, size=(quotes, levels)), axis=0)
    spreads = chance.integers(1, 4, size=(quotes, levels))
    sizes = chance.integers(1, 2_000, size=(quotes, levels, 2))
    return [
        [
            (
                Fraction(int(bids[n, k])),
                Fraction(int(sizes[n, k, 0]), 8),
                Fraction(int(bids[n, k] + spreads[n, k])),
                Fraction(int(sizes[n, k, 1]), 8),
            )
            for k in range(levels)
        ]
        for n in range(quotes)
    ]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), quotes=st.integers(2, 40), levels=st.integers(1, LEVELS))
def test_imbalances_of_random_books_agree_with_the_definition_case_by_case(
    seed: int, quotes: int, levels: int
) -> None:
    rows = draw_books(seed, quotes, levels)
    made, by_level = book_of(rows), [[row[k] for row in rows] for k in range(levels)]
    contributions = find_contributions(made)
    for k, single in enumerate(by_level):
        expected = [float(contribution_by_definition(a, b)) for a, b in pairwise(single)]
        assert contributions[:, k].tolist() == expected
        assert measure_ofi(made)[k] == pytest.approx(float(ofi_by_definition(single)), rel=1e-12)


@given(seed=st.integers(0, 2**32 - 1), quotes=st.integers(2, 20))
def test_swapping_the_sides_of_a_book_changes_the_sign_of_its_imbalance(
    seed: int, quotes: int
) -> None:
    book = book_of(draw_books(seed, quotes, 2))
    mirrored = BookLevels(bid=-book.ask, bid_qty=book.ask_qty, ask=-book.bid, ask_qty=book.bid_qty)
    np.testing.assert_allclose(measure_ofi(mirrored), -measure_ofi(book), atol=1e-12)


def test_a_level_that_a_quote_lacks_has_no_imbalance_and_the_others_keep_theirs() -> None:
    book = book_of(draw_books(1, 6, 3))
    lacking = attrs.evolve(book, bid=book.bid.copy(), bid_qty=book.bid_qty.copy())
    lacking.bid[3, 1] = lacking.bid_qty[3, 1] = np.nan
    found, whole = measure_ofi(lacking), measure_ofi(book)
    assert np.isnan(found).tolist() == [False, True, False]
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
    assert np.isnan(find_contributions(lacking)[:, 1]).tolist() == [False, False, True, True, False]


@given(bought=st.floats(0, 1e9), sold=st.floats(0, 1e9))
def test_the_trade_imbalance_is_the_share_bought_less_the_share_sold(
    bought: float, sold: float
) -> None:
    volume = bought + sold
    found = float(measure_trade_imbalance(np.array(bought), np.array(volume)))
    if volume == 0:
        assert np.isnan(found)
        return
    assert found == pytest.approx(bought / volume - sold / volume, abs=1e-9)
    assert -1 <= found <= 1


# --- z-scores ------------------------------------------------------------------------------------


def read_by_definition(spec: FlowZ, values: Floats, symbol: int) -> tuple[float, float, float]:
    """Return z-scores of quotes and trades and the median spread of one symbol, by sorting."""

    def past_of(rows: list[float]) -> list[float]:
        near = rows[-1 - spec.past - spec.missing_max : -1]
        return [x for x in near if not np.isnan(x)][-spec.past :]

    def z_of(rows: list[float]) -> float:
        past = past_of(rows)
        if len(past) < spec.past:
            return float("nan")
        middle = statistics.median(past)
        spread = 1.4826 * statistics.median(abs(x - middle) for x in past)
        return (rows[-1] - middle) / max(spread, spec.deviation_min)

    ofi = [statistics.fmean(row[: spec.levels, symbol]) for row in values]
    imbalance = values[:, TRADE_IMBALANCE, symbol].tolist()
    spreads = past_of(values[:, SPREAD, symbol].tolist())
    median = statistics.median(spreads) if spreads else float("nan")
    return z_of(ofi), z_of(imbalance), median


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    past=st.integers(2, 20),
    missing_max=st.integers(0, 6),
    levels=st.integers(1, LEVELS),
)
def test_z_scores_are_those_of_the_newest_known_windows(
    seed: int, past: int, missing_max: int, levels: int
) -> None:
    chance = np.random.default_rng(seed)
    spec = FlowZ(past=past, missing_max=missing_max, levels=levels, deviation_min=0.01)
    assert spec.windows == past + missing_max + 1
    values = chance.normal(size=(spec.windows + 3, WINDOW_FIGURES, 5))
    values[chance.random(values.shape) < chance.choice([0, 0.02, 0.2])] = np.nan
    values[:, :, 4] = 1.0  # constant: the deviation is its minimum
    ends = FLOW_WINDOW_MS * np.arange(1, len(values) + 1, dtype=np.int64)
    found = split_flow_figures(spec.read(ends, values))
    for symbol in range(5):
        expected = read_by_definition(spec, values, symbol)
        shown = (found.ofi_z[symbol], found.trade_z[symbol], found.spread_median_bps[symbol])
        np.testing.assert_allclose(shown, expected, rtol=1e-9, atol=1e-9)
        assert found.end_ms[symbol] == ends[-1]


# --- recordings ----------------------------------------------------------------------------------


def shared() -> Path:
    named = os.environ.get("KAMOU_SHARED")
    if not named:
        pytest.skip("KAMOU_SHARED is not set; set it to the directory of the shared data")
    return Path(named)


def gather(books: list[BookLevels]) -> Floats:
    """Return the figures of a window that begins with the first quote of ``books``."""
    gatherer = SingleRows(("BTCUSDT",))
    gatherer.take_quote(0, books[0])
    gatherer.close(FLOW_WINDOW_MS)
    for book in books[1:]:
        gatherer.take_quote(0, book)
    values: Floats = gatherer.close(2 * FLOW_WINDOW_MS).values[0, :, 0]
    return values


@pytest.mark.real
def test_imbalances_reproduce_the_reference_vectors() -> None:
    vectors = json.loads((shared() / "vectors" / "quant.json").read_text())
    known = vectors["ofi_L1"]
    rows = [[tuple(map(Fraction, row))] for row in known["book(bid,bidqty,ask,askqty)"]]
    book = book_of(rows)  # type: ignore[arg-type]  # four figures each
    assert find_contributions(book)[:, 0].tolist() == known["e_n"]
    assert measure_ofi(book)[0] == pytest.approx(known["OFI_over_depth"], rel=1e-9)
    bought = np.array(sum(vectors["bars"]["taker_buy"][-20:]))
    volume = np.array(sum(vectors["bars"]["volume"][-20:]))
    expected = vectors["indicators"]["TFI20_last=(2*buy-vol)/vol"]
    assert float(measure_trade_imbalance(bought, volume)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.real
def test_best_quotes_of_a_recording_have_the_imbalance_of_their_definition() -> None:
    folder = shared() / "data" / "l2_binance_um_20240808"
    table = pq.read_table(folder / "BTCUSDT_quotes_l1.parquet").to_pydict()
    second = [us // 1_000_000 // WINDOW_S for us in table["local_us"]]
    # Texts of the recorded floats are their decimals, so that the reference is exact.
    names = ("bid", "bid_qty", "ask", "ask_qty")
    quotes = [
        tuple(map(Fraction, map(repr, row)))
        for row in zip(*(table[name] for name in names), strict=True)
    ]
    edges = [n for n in range(1, len(second)) if second[n] != second[n - 1]]
    compared = 0
    for first, last in list(pairwise(edges))[::4]:
        chosen: list[Quote] = quotes[first - 1 : last]  # type: ignore[assignment]  # four each
        expected = float(ofi_by_definition(chosen))
        assert measure_ofi(book_of([[q] for q in chosen]))[0] == pytest.approx(expected, rel=1e-9)
        gathered = gather([book_of([[q]]) for q in chosen])
        assert gathered[0] == pytest.approx(expected, rel=1e-9)
        assert np.isnan(gathered[1:LEVELS]).all()  # the recording has one level
        spreads = [2 * (a - b) / (a + b) * 10_000 for b, _, a, _ in chosen[1:]]
        assert gathered[SPREAD] == pytest.approx(float(sum(spreads) / len(spreads)), rel=1e-9)
        compared += 1
    assert compared > 5


def walk_depth(path: Path, until: int) -> Iterator[list[Quote]]:
    """Yield the five best levels after each message from the snapshot on."""
    sides: dict[str, dict[Fraction, Fraction]] = {}
    with gzip.open(path, "rt") as file:
        for number, line in enumerate(file):
            if number >= until:
                return
            message = json.loads(line.split(" ", 1)[1])
            if "lastUpdateId" in message:
                sides = {
                    side: {Fraction(p): Fraction(q) for p, q in message[side]}
                    for side in ("bids", "asks")
                }
            elif sides:
                for key, side in (("b", "bids"), ("a", "asks")):
                    for price, quantity in message["data"][key]:
                        sides[side][Fraction(price)] = Fraction(quantity)
            if sides:
                bids = heapq.nlargest(LEVELS, (p for p, q in sides["bids"].items() if q))
                asks = heapq.nsmallest(LEVELS, (p for p, q in sides["asks"].items() if q))
                yield [
                    (b, sides["bids"][b], a, sides["asks"][a])
                    for b, a in zip(bids, asks, strict=True)
                ]


@pytest.mark.real
def test_five_levels_of_recorded_book_differences_have_the_imbalance_of_their_definition() -> None:
    path = shared() / "data" / "l2_binance_um_20240808" / "BTCUSDT_depth_diff_raw.jsonl.gz"
    rows = list(walk_depth(path, 500))
    assert len(rows) > 400
    for first in range(0, 400, 100):
        chosen = [row for row in rows[first : first + 100] if row[0][0] < row[0][2]]
        expected = [float(ofi_by_definition([row[k] for row in chosen])) for k in range(LEVELS)]
        np.testing.assert_allclose(measure_ofi(book_of(chosen)), expected, rtol=1e-9)
        gathered = gather([book_of([row]) for row in chosen])
        np.testing.assert_allclose(gathered[:LEVELS], expected, rtol=1e-9)
        assert len({round(x, 6) for x in expected}) == LEVELS


@pytest.mark.real
def test_recorded_snapshots_of_five_levels_have_the_imbalance_of_their_definition() -> None:
    path = shared() / "data/l2_nautilus_samples/tardis_binance-futures_book_snapshot_5_BTCUSDT.csv"
    with path.open() as file:
        rows = [
            [
                tuple(
                    Fraction(line[f"{side}s[{k}].{what}"])
                    for side in ("bid", "ask")
                    for what in ("price", "amount")
                )
                for k in range(LEVELS)
            ]
            for line in csv.DictReader(file)
        ]
    expected = [
        float(ofi_by_definition([row[k] for row in rows]))  # type: ignore[misc]  # four each
        for k in range(LEVELS)
    ]
    np.testing.assert_allclose(measure_ofi(book_of(rows)), expected, rtol=1e-9)  # type: ignore[arg-type]  # as above


@pytest.mark.real
@pytest.mark.parametrize("source", ["futures", "spot"])
def test_recorded_trades_have_the_imbalance_of_their_definition(source: str) -> None:
    if source == "futures":
        table = pq.read_table(
            shared() / "data/l2_binance_um_20240808/BTCUSDT_trades.parquet"
        ).to_pydict()
        sides = [side == "buy" for side in table["taker_side"]]
        trades = list(zip(table["qty"], sides, strict=True))
    else:
        with gzip.open(shared() / "data/trades_freqtrade/XRP_ETH-trades.json.gz", "rt") as file:
            trades = [(row[5], row[3] == "buy") for row in json.load(file)]
    assert len(trades) > 1_000
    gatherer = SingleRows(("X",))
    gatherer.close(FLOW_WINDOW_MS)
    for n, first in enumerate(range(0, 5_000, 1_000)):
        chosen = trades[first : first + 1_000]
        if not chosen:
            break
        for quantity, bought in chosen:
            gatherer.take_trade(0, quantity, bought=bought)
        signed = [Fraction(q) if bought else -Fraction(q) for q, bought in chosen]
        expected = float(sum(signed) / sum(map(abs, signed)))
        values = gatherer.close((n + 2) * FLOW_WINDOW_MS).values[0, :, 0]
        assert values[TRADE_IMBALANCE] == pytest.approx(expected, rel=1e-9)
        assert np.isnan(values[:LEVELS]).all()
