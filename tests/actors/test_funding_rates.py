"""Funding rates that settled last, from rows in which most symbols have none."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kamou.actors.funding_rates import last_known

RATES = st.lists(
    st.lists(st.sampled_from([float("nan"), 0.0, -0.01, 0.02]), min_size=3, max_size=3), max_size=5
)


@given(rows=RATES)
def test_the_last_known_value_of_a_column_is_the_last_that_is_a_number(
    rows: list[list[float]],
) -> None:
    found = last_known(np.array(rows, dtype=float).reshape(-1, 3))
    for column in range(3):
        known = [row[column] for row in rows if row[column] == row[column]]
        assert found[column] == known[-1] if known else np.isnan(found[column])
