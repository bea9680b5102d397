"""One short backtest of ``make budget``, and two defects that its judge finds."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from kamou.core.risk import equity
from kamou.core.risk.limits import CostModel
from kamou.core.risk.rules import RULES
from kamou.core.risk.rules_portfolio import daily_budget
from tests.simulation.budget_suite import SETTINGS, backtest


@pytest.mark.no_cover
def test_a_drawn_backtest_with_late_and_failing_account_reads_keeps_every_limit() -> None:
    result = backtest(3, days=2)
    assert result["broken"] == []
    assert result["entries"] > 100
    assert result["closest"]["SHOCK"] > 0.9  # an entry came close to the limit
    assert result["closest"]["ADMISSION"] > 0.5


@pytest.mark.no_cover
def test_without_the_daily_budget_the_judge_finds_entries_or_a_loss_beyond_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kamou.core.risk import exposure, governor

    monkeypatch.setattr(
        governor, "RULES", tuple(rule for rule in RULES if rule is not daily_budget)
    )
    monkeypatch.setattr(
        exposure, "day_budget", lambda book, now, limits: limits.daily_loss_max * book.day.equity
    )
    result = backtest(3, days=2)
    assert any(line.startswith(("ADMISSION", "DAY")) for line in result["broken"])


@pytest.mark.no_cover
def test_with_higher_fees_the_judge_finds_a_governor_that_counts_the_lower_fees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dear = attrs.evolve(SETTINGS, costs=CostModel(taker_bps=Decimal(30)))
    assert backtest(3, days=1, settings=dear)["broken"] == []
    monkeypatch.setattr(equity, "taker_rate", lambda instrument, costs: Decimal("0.0006"))
    broken = backtest(3, days=1, settings=dear)["broken"]
    assert any(line.startswith("ADMISSION") for line in broken)
