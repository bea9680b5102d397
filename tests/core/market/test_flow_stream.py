"""A stream's window has the figures of its quotes and trades, or none if anything is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pytest

from kamou.core.arrays import Floats
from kamou.core.indicators.order_flow import LEVELS, SPREAD, TRADE_IMBALANCE, BookLevels
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.market.flow_gatherer import QUOTE_COLUMNS
from kamou.core.market.flow_stream import FlowUpdates, StreamedFlow

START_MS = 1_735_689_600_000
SYMBOLS = ("A", "B", "C")
WINDOWS = 5
END_MS = START_MS + WINDOWS * FLOW_WINDOW_MS


@attrs.frozen
class Row:
    """A quote (``levels`` of bid, quantity, ask, quantity) or a trade of one symbol."""

    at_ms: int
    column: int
    levels: tuple[tuple[float, float, float, float], ...] = ()
    quantity: float = 0.0
    bought: bool = False


def make_rows(draw: np.random.Generator) -> list[Row]:
    rows = []
    for column in range(len(SYMBOLS)):
        price = 100.0
        at_ms = START_MS
        while (at_ms := at_ms + int(draw.integers(1, 40_000))) <= END_MS:
            price += float(draw.integers(-1, 2))
            if draw.random() < 0.4:
                rows.append(
                    Row(
                        at_ms,
                        column,
                        quantity=float(draw.integers(1, 9)),
                        bought=bool(draw.random() < 0.5),
                    )
                )
                continue
            sizes = draw.integers(1, 20, size=(LEVELS, 2)).tolist()
            rows.append(
                Row(
                    at_ms,
                    column,
                    tuple(
                        (price - n, float(q), price + 1 + n, float(r))
                        for n, (q, r) in enumerate(sizes)
                    ),
                )
            )
    return sorted(rows, key=lambda row: row.at_ms)


def batch_of(rows: Sequence[Row], since_ms: int, until_ms: int) -> FlowUpdates:
    quotes, trades = [r for r in rows if r.levels], [r for r in rows if not r.levels]
    levels = np.array([r.levels for r in quotes]).reshape(len(quotes), LEVELS, 4)
    return FlowUpdates(
        since_ms=since_ms,
        until_ms=until_ms,
        quote_ms=np.array([r.at_ms for r in quotes], dtype=np.int64),
        quote_columns=np.array([r.column for r in quotes], dtype=np.int64),
        book=BookLevels(**{n: levels[:, :, i] for i, n in enumerate(QUOTE_COLUMNS)}),
        trade_ms=np.array([r.at_ms for r in trades], dtype=np.int64),
        trade_columns=np.array([r.column for r in trades], dtype=np.int64),
        quantity=np.array([r.quantity for r in trades], dtype=np.float64),
        bought=np.array([r.bought for r in trades], dtype=np.bool_),
    )


def split(rows: Sequence[Row], draw: np.random.Generator) -> list[FlowUpdates]:
    """Return contiguous batches of random lengths, some longer than a window."""
    batches, since_ms = [], START_MS
    while since_ms < END_MS:
        until_ms = min(END_MS, since_ms + int(10 ** draw.uniform(2.0, 5.8)))
        inside = [row for row in rows if since_ms < row.at_ms <= until_ms]
        batches.append(batch_of(inside, since_ms, until_ms))
        since_ms = until_ms
    return batches


def measure(rows: Sequence[Row], window: int, column: int) -> list[float]:
    """Return OFI, trade imbalance and spread of a window by their definitions, one by one."""
    start_ms = START_MS + window * FLOW_WINDOW_MS
    mine = [row for row in rows if row.column == column]
    inside = [row for row in mine if start_ms < row.at_ms <= start_ms + FLOW_WINDOW_MS]
    quotes = [row.levels for row in inside if row.levels]
    before = [row.levels for row in mine if row.levels and row.at_ms <= start_ms][-1:]
    figures = [float("nan")] * (LEVELS + 2)
    if before:
        for level in range(LEVELS):
            walk = [each[level] for each in before + quotes]
            total = 0.0
            for (b0, qb0, a0, qa0), (b1, qb1, a1, qa1) in pairwise(walk):
                total += qb1 if b1 >= b0 else 0.0
                total -= qb0 if b1 <= b0 else 0.0
                total -= qa1 if a1 <= a0 else 0.0
                total += qa0 if a1 >= a0 else 0.0
            depth = sum((qb + qa) / 2 for _, qb, _, qa in walk) / len(walk)
            figures[level] = total / depth
    trades = [row for row in inside if not row.levels]
    if trades:
        bought = sum(row.quantity for row in trades if row.bought)
        volume = sum(row.quantity for row in trades)
        figures[TRADE_IMBALANCE] = (2 * bought - volume) / volume
    best = [each[0] for each in (quotes or before)]
    if best:
        spreads = [(ask - bid) / ((ask + bid) / 2) * 10_000 for bid, _, ask, _ in best]
        figures[SPREAD] = sum(spreads) / len(spreads)
    return figures


def truth(rows: Sequence[Row]) -> Floats:
    return np.array(
        [[measure(rows, w, c) for c in range(len(SYMBOLS))] for w in range(WINDOWS)]
    ).transpose(0, 2, 1)


def gather(batches: Sequence[FlowUpdates], begin_ms: int = START_MS - 1) -> list[FlowWindows]:
    flow = StreamedFlow(SYMBOLS, begin_ms)
    found = flow.close_late(START_MS)
    for batch in batches:
        found += flow.take(batch)
    found += flow.close_late(END_MS)
    return found


def values_of(windows: Sequence[FlowWindows]) -> Floats:
    ends = [int(each.end_ms[0]) for each in windows]
    assert ends == [START_MS + n * FLOW_WINDOW_MS for n in range(WINDOWS + 1)]
    return np.concatenate([each.values for each in windows[1:]])


@pytest.mark.parametrize("seed", range(25))
def test_the_windows_of_a_sound_stream_have_the_figures_of_the_definition(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = make_rows(draw)
    values = values_of(gather(split(rows, draw)))
    assert np.isnan(values[0]).all()  # the stream is new
    expected = truth(rows)
    np.testing.assert_allclose(values[1:], expected[1:], rtol=1e-9, atol=1e-12)


def spoil(batches: list[FlowUpdates], kind: str, draw: np.random.Generator) -> list[FlowUpdates]:
    """Return the batches with one fault."""
    at = int(draw.integers(1, len(batches) - 1)) if len(batches) > 2 else 0
    chosen = batches[at]
    match kind:
        case "lost":
            return batches[:at] + batches[at + 1 :]
        case "repeated":
            return [*batches[: at + 1], chosen, *batches[at + 1 :]]
        case "swapped":
            return batches[:at] + batches[at : at + 2][::-1] + batches[at + 2 :]
        case "out of order" if len(chosen.quote_ms) > 1:
            order = draw.permutation(len(chosen.quote_ms))
            book = BookLevels(**{n: getattr(chosen.book, n)[order] for n in QUOTE_COLUMNS})
            columns, at_ms = chosen.quote_columns[order], chosen.quote_ms[order]
            chosen = attrs.evolve(chosen, quote_ms=at_ms, quote_columns=columns, book=book)
        case "crossed" if len(chosen.quote_ms):
            ask = chosen.book.ask.copy()
            ask[int(draw.integers(len(ask))), 0] = 1.0
            chosen = attrs.evolve(chosen, book=attrs.evolve(chosen.book, ask=ask))
        case "misplaced" if len(chosen.quote_ms):
            at_ms = chosen.quote_ms.copy()
            at_ms[0] = chosen.since_ms - int(draw.integers(0, FLOW_WINDOW_MS))
            chosen = attrs.evolve(chosen, quote_ms=at_ms)
        case "bad trade" if len(chosen.trade_ms):
            quantity = chosen.quantity.copy()
            quantity[-1] = float(draw.choice([np.nan, 0.0, -3.0, np.inf]))
            chosen = attrs.evolve(chosen, quantity=quantity)
    return [*batches[:at], chosen, *batches[at + 1 :]]


FAULTS = ["lost", "repeated", "swapped", "out of order", "crossed", "misplaced", "bad trade"]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_stream_makes_windows_unknown_and_none_wrong(kind: str) -> None:
    unknown = 0
    for seed in range(40):
        draw = np.random.default_rng((seed, FAULTS.index(kind)))
        rows = make_rows(draw)
        batches = split(rows, draw)
        if len(batches) < 3:
            continue
        values, expected = values_of(gather(spoil(batches, kind, draw))), truth(rows)
        lacks = np.isnan(values) & ~np.isnan(expected)
        unknown += int(lacks[1:].any())
        np.testing.assert_allclose(
            np.where(lacks, 0, values), np.where(lacks, 0, expected), rtol=1e-9, atol=1e-12
        )
        # A symbol without a fault loses nothing, and nobody more than the fault's own windows.
        assert lacks[1:].any(axis=(1, 2)).sum() <= 3
    assert (unknown > 4) != (kind == "repeated")


@pytest.mark.parametrize("seed", range(10))
def test_a_stream_that_broke_and_came_back_loses_its_window_and_the_next_starts_anew(
    seed: int,
) -> None:
    draw = np.random.default_rng(seed)
    rows = make_rows(draw)
    flow, found = StreamedFlow(SYMBOLS, START_MS), list[FlowWindows]()
    broken = START_MS + int(draw.integers(FLOW_WINDOW_MS + 1, 3 * FLOW_WINDOW_MS))
    back = broken + int(draw.integers(1, 60_000))
    for since_ms, until_ms in ((START_MS, broken), (back, END_MS)):
        inside = [row for row in rows if since_ms < row.at_ms <= until_ms]
        found += flow.take(batch_of(inside, since_ms, until_ms))
        flow.lose()
    values = np.concatenate([each.values for each in found])
    assert len(values) == WINDOWS
    expected = truth(rows)
    touched = {(at - 1 - START_MS) // FLOW_WINDOW_MS for at in (broken, back)} | {
        (broken - START_MS) // FLOW_WINDOW_MS
    }
    for window in range(1, WINDOWS):
        if window in touched:
            assert np.isnan(values[window]).all()
        elif window > max(touched):
            known = ~np.isnan(values[window])
            np.testing.assert_allclose(values[window][known], expected[window][known], rtol=1e-9)
            assert known[TRADE_IMBALANCE].any()
        else:
            np.testing.assert_allclose(values[window], expected[window], rtol=1e-9, atol=1e-12)


def test_a_window_that_closed_late_is_unknown_and_so_is_the_ofi_after_it() -> None:
    rows = make_rows(np.random.default_rng(1))
    flow = StreamedFlow(SYMBOLS, START_MS)
    halves = [START_MS, START_MS + FLOW_WINDOW_MS * 3 // 2, START_MS + FLOW_WINDOW_MS * 5 // 2]
    first, late = (
        batch_of([r for r in rows if a < r.at_ms <= b], a, b) for a, b in pairwise(halves)
    )
    assert len(flow.take(first)) == 1
    (closed,) = flow.close_late(START_MS + 2 * FLOW_WINDOW_MS)
    assert np.isnan(closed.values).all()
    assert flow.take(late) == []  # its rows of the closed window are dropped
    rest = batch_of([r for r in rows if r.at_ms > halves[2]], halves[2], END_MS)
    third, fourth, _ = flow.take(rest)
    expected = truth(rows)
    assert np.isnan(third.ofi).all()
    np.testing.assert_allclose(third.trade_imbalance[0], expected[2, TRADE_IMBALANCE])
    np.testing.assert_allclose(fourth.values[0], expected[3], rtol=1e-9, atol=1e-12)


def test_after_a_gap_of_several_windows_none_of_them_is_known() -> None:
    rows = make_rows(np.random.default_rng(2))
    flow = StreamedFlow(SYMBOLS, START_MS)
    a, b = START_MS + 1_000, START_MS + 3 * FLOW_WINDOW_MS + 60_000
    flow.take(batch_of([], START_MS, a))
    inside = [row for row in rows if row.at_ms > b]
    closed: list[Any] = flow.take(batch_of(inside, b, END_MS))
    assert len(closed) == WINDOWS
    for window in closed[:4]:
        assert np.isnan(window.values).all()
    known = closed[4].values[0]
    np.testing.assert_allclose(known, truth(rows)[4], rtol=1e-9, atol=1e-12)
