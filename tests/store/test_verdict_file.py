"""CSV files with the refiner's verdicts: what is read, and each refusal with its line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from kamou.core.kinds import RefinerVerdict
from kamou.core.record.refiner_value import JudgedTrade
from kamou.errors import InvalidDataError
from kamou.store.verdict_file import read_verdict_file

HEADER = "strategy,opened_at_ms,closed_at_ms,symbol,r,pnl_usd,verdict,score,p_win_pct,cost_usd\n"
TRADE = "trend,1735689600000,1735693200000,BTCUSDT,2.3,46"


def read(folder: Path, *lines: str) -> tuple[JudgedTrade, ...]:
    file = folder / "trades.csv"
    file.write_text(HEADER + "\n".join(lines))
    return read_verdict_file(file)


def test_a_verdict_is_read_with_its_score_probability_and_cost(tmp_path: Path) -> None:
    (trade,) = read(tmp_path, f"{TRADE},approve,0.75,60,0.002")
    assert trade == JudgedTrade(
        strategy="trend",
        symbol="BTCUSDT",
        opened_at_ms=1_735_689_600_000,
        closed_at_ms=1_735_693_200_000,
        r=Decimal("2.3"),
        verdict=RefinerVerdict.APPROVE,
        score=0.75,
        p_win_pct=60,
        cost_usd=Decimal("0.002"),
    )


def test_a_blank_probability_is_none_and_a_blank_cost_is_0(tmp_path: Path) -> None:
    (trade,) = read(tmp_path, f"{TRADE},refuse,1,,")
    assert (trade.p_win_pct, trade.cost_usd) == (None, Decimal(0))


def test_lines_without_a_verdict_of_a_model_are_left_out(tmp_path: Path) -> None:
    others = [
        f"{TRADE.replace('BTC', name)},{verdict},,,"
        for name, verdict in (("A", ""), ("B", "off"), ("C", "advisory"), ("D", "unanswered"))
    ]
    trades = read(tmp_path, *others, f"{TRADE},shrink,0.5,,")
    assert [each.verdict for each in trades] == [RefinerVerdict.SHRINK]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("maybe,0.5,,", "line 2: verdict is 'maybe'; expected approve, refuse or shrink"),
        ("approve,,,", "line 2: score is '', not a number from 0 to 1"),
        ("approve,1.01,,", "line 2: score is '1.01', not a number from 0 to 1"),
        ("approve,nan,,", "line 2: score is 'nan', not a number from 0 to 1"),
        ("approve,0.5,101,", "line 2: p_win_pct is '101', not a whole number from 0 to 100"),
        ("approve,0.5,5.5,", "line 2: p_win_pct is '5.5', not a whole number"),
        ("approve,0.5,50,-1", "line 2: cost_usd is '-1', not a number of at least 0"),
        ("approve,0.5,50,inf", "line 2: cost_usd is 'inf', not a number of at least 0"),
        (",0.5,50,1", "has no trade with a verdict of a model"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, cells: str, reason: str) -> None:
    with pytest.raises(InvalidDataError) as caught:
        read(tmp_path, f"{TRADE},{cells}")
    assert reason in str(caught.value)


def test_a_file_without_the_columns_of_verdicts_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text("strategy,opened_at_ms,closed_at_ms,symbol,r,pnl_usd\n" + TRADE)
    with pytest.raises(InvalidDataError, match="lacks verdict, score, p_win_pct, cost_usd"):
        read_verdict_file(file)
