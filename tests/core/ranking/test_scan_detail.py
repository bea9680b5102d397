"""Packing and reading of the scan details of a cycle."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.codes import Abstain
from kamou.core.model import Figure
from kamou.core.ranking.scan_detail import ScanReason, StrategyDetail, pack_details, read_reasons
from kamou.core.strategies.base import Requirement

CODES = [code.value for code in Abstain]
ASKED = Requirement(wanted="more", figures=("score", "seen"), found="less")


def shown(strategy: StrategyDetail, at: int) -> tuple[Figure, ...]:
    """Return the figures of an abstention with the requirement ``ASKED``."""
    if strategy.abstain[at] == Abstain.STRATEGY_FAILED:
        return (Figure(name="error", value="not recorded"),)
    return (
        Figure(name="found", value="less"),
        Figure(name="score", value=f"{np.float32(strategy.score[at]):.4g}"),
        Figure(name="seen", value=f"{np.float32(strategy.figures[0][at]):.4g}"),
        Figure(name="wanted", value="more"),
    )


@given(
    data=st.data(),
    count=st.integers(1, 5),
    strategies=st.lists(st.text("ab_", min_size=1), unique=True, max_size=3),
)
def test_a_packed_scan_detail_is_read_with_its_figures(
    data: st.DataObject, count: int, strategies: list[str]
) -> None:
    symbols = [f"S{n}USDT" for n in range(count)]
    scores = st.lists(st.floats(-1, 1, width=32), min_size=count, max_size=count)
    codes = st.lists(st.sampled_from(CODES), min_size=count, max_size=count)
    details = {
        name: StrategyDetail(
            score=np.array(data.draw(scores)),
            abstain=np.array(data.draw(codes), np.uint8),
            names=("seen",),
            figures=np.array([data.draw(scores)]),
            requirements=dict.fromkeys(Abstain, ASKED),
        )
        for name in strategies
    }
    body = pack_details(symbols, details)
    for at, symbol in enumerate(symbols):
        assert read_reasons(body, symbol) == tuple(
            ScanReason(
                strategy=name,
                abstain=Abstain(int(detail.abstain[at])),
                score=None if detail.abstain[at] else float(detail.score[at]),
                figures=() if detail.abstain[at] == 0 else shown(detail, at),
            )
            for name, detail in details.items()
        )


def test_a_symbol_that_was_not_scanned_has_no_reasons() -> None:
    assert read_reasons(pack_details(["AUSDT"], {}), "BUSDT") == ()


def test_a_scan_detail_of_an_older_version_is_read_without_figures() -> None:
    head = json.dumps({"symbols": ["A", "B"], "strategies": ["x", "y"]}).encode() + b"\n"
    column = np.array([0.5, 0.25], "<f4").tobytes() + bytes([0, Abstain.REGIME_WRONG])
    reported = read_reasons(head + column + column, "B")
    assert [(one.strategy, one.abstain, one.figures) for one in reported] == [
        ("x", Abstain.REGIME_WRONG, ()),
        ("y", Abstain.REGIME_WRONG, ()),
    ]
    assert read_reasons(head + column + column, "A")[1].score == 0.5


def test_a_figure_that_is_nan_is_shown_as_unknown() -> None:
    detail = StrategyDetail(
        score=np.zeros(1),
        abstain=np.array([Abstain.REGIME_WRONG], np.uint8),
        names=("adx",),
        figures=np.array([[np.nan]]),
        requirements={Abstain.REGIME_WRONG: Requirement(wanted="a range", figures=("adx", "atr"))},
    )
    (one,) = read_reasons(pack_details(["A"], {"x": detail}), "A")
    assert [f.value for f in one.figures] == ["unknown", "unknown", "a range"]
