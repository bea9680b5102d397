"""The detail of a cycle is read back as it was packed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.codes import Abstain
from kamou.core.ranking.scan_detail import ScanReason, pack, reasons

CODES = [code.value for code in Abstain]


@given(
    data=st.data(),
    count=st.integers(1, 5),
    strategies=st.lists(st.text("ab_", min_size=1), unique=True, max_size=3),
)
def test_every_answer_is_read_back(data: st.DataObject, count: int, strategies: list[str]) -> None:
    symbols = [f"S{n}USDT" for n in range(count)]
    scores = st.lists(st.floats(-1, 1, width=32), min_size=count, max_size=count)
    codes = st.lists(st.sampled_from(CODES), min_size=count, max_size=count)
    opinions = {
        name: (np.array(data.draw(scores)), np.array(data.draw(codes), np.uint8))
        for name in strategies
    }
    body = pack(symbols, opinions)
    for at, symbol in enumerate(symbols):
        assert reasons(body, symbol) == tuple(
            ScanReason(
                strategy=name,
                abstain=Abstain(int(abstain[at])),
                score=None if abstain[at] else float(score[at]),
            )
            for name, (score, abstain) in opinions.items()
        )


def test_a_symbol_that_was_not_scanned_has_no_reasons() -> None:
    assert reasons(pack(["AUSDT"], {}), "BUSDT") == ()
