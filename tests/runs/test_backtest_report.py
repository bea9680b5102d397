"""The report of a backtest, recomputed from its lists and from the venue's own records."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal as D
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kamou.core.codes import Abstain
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit, MoneyKind
from tests.core.record import figures_by_definition as definition
from tests.runs.traded_days import DAYS, MIDNIGHT_MS, TradedDays, trade_days

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> TradedDays:
    return trade_days(tmp_path_factory.mktemp("traded") / "journal.sqlite3")


def total(values: Any) -> D:
    return sum(values, D(0))


def plain(row: Any, until_ms: int | None = None) -> definition.PlainTrade:
    """Return a row of the trades, or of the open positions if ``until_ms`` is given."""
    size = row.get("contract_size", "1")
    return definition.PlainTrade(
        from_ms=row["opened_at_ms"],
        until_ms=row["closed_at_ms"] if until_ms is None else until_ms,
        value=Fraction(row["entry_price"]) * Fraction(row["quantity"]) * Fraction(size),
        net=Fraction(row.get("pnl_net", "0")),
        r=None if row.get("r") is None else Fraction(row["r"]),
    )


def market_changes(traded: TradedDays) -> dict[str, float]:
    """Return each symbol's change from the first traded open to the last close, as a fraction."""
    bars = traded.market.data.bars
    first = list(bars.open_ms).index(MIDNIGHT_MS)
    return {
        symbol: float(bars.close[-1, column] / bars.open[first, column] - 1)
        for column, symbol in enumerate(bars.symbols)
    }


def test_every_figure_of_the_report_follows_from_its_lists_by_definition(
    traded: TradedDays,
) -> None:
    report = traded.report
    end_ms = report["tested"]["as_of_ms"]
    wanted = definition.all_figures(
        definition.Inputs(
            curve=[(p["at_ms"], Fraction(p["equity"])) for p in report["equity_curve"]],
            daily=[
                float(Fraction(day["equity_end"]) / Fraction(day["equity_start"]) - 1)
                for day in report["days"]
                if day["complete"]
            ],
            trades=[plain(row) for row in report["trade_list"]],
            held=[plain(row, end_ms) for row in report["open_positions"]],
            changes=market_changes(traded),
            bitcoin="BTCUSDT",
        )
    )
    found = {name: figure["value"] for name, figure in report["figures"].items()}
    assert None not in found.values()
    assert found == pytest.approx(wanted, rel=1e-9)


def until_the_end(traded: TradedDays) -> list[AuditRecord]:
    end_ms = traded.report["tested"]["as_of_ms"]
    return [record for record in traded.audit_log if record.at_ms <= end_ms]


def test_the_waterfall_from_gross_to_net_has_the_sums_of_the_venues_records(
    traded: TradedDays,
) -> None:
    fall = {name: D(str(text)) for name, text in traded.report["waterfall"].items()}
    records = until_the_end(traded)
    fills = [record for record in records if isinstance(record, FillAudit)]
    paid = total(r.amount for r in records if isinstance(r, MoneyAudit) and r.kind != "opening")
    assert MoneyKind.TRANSFER not in {r.kind for r in records if isinstance(r, MoneyAudit)}
    last = {fill.symbol: fill for fill in fills}
    close = traded.market.data.bars.close[-1]
    price = dict(zip(traded.market.symbols, close, strict=True))
    worth = total(
        (D(str(price[f.symbol])) - f.entry_after) * f.position_after * f.contract_size
        for f in last.values()
    )
    assert fall["fees"] == total(fill.fee for fill in fills)
    assert fall["funding"] == paid
    assert paid != 0
    realized = total(fill.realized for fill in fills)
    assert fall["gross"] - fall["slippage"] == pytest.approx(realized + worth, abs=D("1e-6"))
    assert fall["net"] == fall["gross"] - fall["slippage"] - fall["fees"] + fall["funding"]
    assert fall["net"] == fall["closed"] + fall["open"]
    assert fall["closed"] == total(D(row["pnl_net"]) for row in traded.report["trade_list"])
    assert D(traded.report["unrealized_pnl"]) == pytest.approx(worth, abs=D("1e-6"))
    held = {fill.symbol for fill in last.values() if fill.position_after}
    assert held
    assert {row["symbol"] for row in traded.report["open_positions"]} == held


def test_the_equity_at_each_midnight_is_that_of_the_venues_records(traded: TradedDays) -> None:
    """It is the balance before 00:00, plus the positions held then at their last closes."""
    bars = traded.market.data.bars
    days = traded.report["days"]
    assert [day["complete"] for day in days[:DAYS]] == [True] * DAYS
    for number, day in enumerate(days[:DAYS]):
        midnight = MIDNIGHT_MS + (number + 1) * DAY_MS
        before = [record for record in traded.audit_log if record.at_ms < midnight]
        fills = [record for record in before if isinstance(record, FillAudit)]
        money = total(r.amount for r in before if isinstance(r, MoneyAudit))
        row = list(bars.open_ms).index(midnight - 3_600_000)
        price = dict(zip(bars.symbols, bars.close[row], strict=True))
        worth = total(
            (D(str(price[f.symbol])) - f.entry_after) * f.position_after * f.contract_size
            for f in {fill.symbol: fill for fill in fills}.values()
        )
        equity = money + total(f.realized - f.fee for f in fills) + worth
        assert D(day["equity_end"]) == pytest.approx(equity, abs=D("1e-6")), day["day"]
    for earlier, later in pairwise(days):
        assert earlier["equity_end"] == later["equity_start"]


def test_the_returns_of_days_and_months_multiply_to_the_return_of_the_backtest(
    traded: TradedDays,
) -> None:
    report = traded.report
    whole = report["figures"]["return"]["value"]
    for rows in (report["days"], report["months"]):
        grown = math.prod(1 + float(row["return_twr"] or 0) for row in rows)
        assert grown - 1 == pytest.approx(whole, rel=1e-9)
        assert sum(row["trades"] for row in rows) == len(report["trade_list"])
    assert not any(month["complete"] for month in report["months"])


def key_of(by: str, row: Any) -> str:
    at = datetime.fromtimestamp(row["opened_at_ms"] / 1000, UTC)
    own = {"weekday": f"{at:%A}", "hour": f"{at:%H}"}
    return own.get(by) or str(row[by])


def test_each_row_of_the_tables_follows_from_the_listed_trades(traded: TradedDays) -> None:
    report = traded.report
    assert set(report["tables"]) == {
        "symbol",
        "strategy",
        "side",
        "exit_reason",
        "weekday",
        "hour",
    }
    for by, rows in report["tables"].items():
        assert sum(row["trades"] for row in rows) == len(report["trade_list"])
        for row in rows:
            own = [t for t in report["trade_list"] if key_of(by, t) == row["key"]]
            nets = [D(trade["pnl_net"]) for trade in own]
            assert (row["trades"], row["wins"]) == (len(own), sum(net > 0 for net in nets))
            assert row["win_rate"] == row["wins"] / row["trades"]
            for name in ("pnl_net", "fees", "funding", "slippage"):
                assert D(str(row[name])) == total(D(str(trade[name])) for trade in own)
            lost = -total(net for net in nets if net < 0)
            won = total(net for net in nets if net > 0)
            factor = None if lost == 0 else pytest.approx(float(won / lost))
            assert row["profit_factor"] == factor
            known = [trade["r"] for trade in own if trade["r"] is not None]
            assert row["expectancy_r"] == pytest.approx(math.fsum(known) / len(known))


def test_the_report_names_the_drawdowns_dates_and_they_have_the_stated_depth(
    traded: TradedDays,
) -> None:
    report = traded.report
    equity = {p["at_ms"]: Fraction(p["equity"]) for p in report["equity_curve"]}
    for each in report["drawdowns"].values():
        assert isinstance(each, dict)
        fall = equity[each["trough_ms"]] / equity[each["peak_ms"]] - 1
        assert each["value"] == pytest.approx(float(fall))
    deepest, longest = report["drawdowns"]["deepest"], report["drawdowns"]["longest"]
    assert deepest is not None
    assert longest is not None
    assert deepest["value"] == report["max_drawdown"]
    assert longest["duration_ms"] == report["figures"]["longest_drawdown"]["value"]


def test_the_refusals_of_the_report_add_up_to_at_least_its_counts(traded: TradedDays) -> None:
    report = traded.report
    counts = {
        tier: sum(row["count"] for row in report["refusals"] if row["tier"] == tier)
        for tier in ("T1", "T2", "governor")
    }
    assert counts["T1"] == report["abstained"]
    assert counts["T2"] >= report["vetoed"] > 0
    assert counts["governor"] >= report["refused"] > 0  # one refusal may have several codes
    assert all(row["meaning"] for row in report["refusals"])


def test_the_report_is_json_without_infinite_numbers_and_keeps_its_documented_counts(
    traded: TradedDays,
) -> None:
    report = json.loads(json.dumps(traded.report, allow_nan=False))
    assert report["trades"] == len(report["trade_list"])
    assert report["equity_end"] == report["equity_curve"][-1]["equity"]
    assert len(report["r_distribution"]["best"]) == 5
    assert report["tested"]["days"] == pytest.approx(DAYS, abs=0.001)
    assert report["tested"]["interrupted"] is False
    assert report["settings"]["equity"] == "10000"


def keys_of(value: Any) -> set[str]:
    """Return all keys of a document, at every depth, except names of settings."""
    if isinstance(value, dict):
        nested = (keys_of(inner) for key, inner in value.items() if key != "settings")
        return set(value).union(*nested)
    if isinstance(value, list):
        return set().union(*(keys_of(each) for each in value))
    return set()


def test_the_page_of_the_report_names_every_key_of_the_document(traded: TradedDays) -> None:
    page = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    # without the strategy's name, and the codes of its abstentions (docs/codes.md)
    found = keys_of(traded.report) - {"scripted"} - {code.name for code in Abstain}
    assert not found - named
    assert {"cpu_s", "wall_s", "peak_rss_mb"} <= named
