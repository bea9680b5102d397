"""CSV files of closed shadow trades: what is read, and each refusal with its line and reason."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.record.e_values import ResultOfTrade
from kamou.errors import InvalidDataError
from kamou.store.gate_file import COLUMNS, ROW_CHARS_MAX, read_gate_file

HEADER = "strategy,opened_at_ms,closed_at_ms,symbol,r,pnl_usd\n"
FIRST = "trend,1735689600000,1735693200000,BTCUSDT,2.3,46\n"
SECOND = "trend,1735603200000,1735693200000,ETHUSDT,-1,-20.5\n"


def read(folder: Path, text: str | bytes) -> tuple[ResultOfTrade, ...]:
    file = folder / "trades.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_gate_file(file)


def test_trades_are_read_exactly_and_sorted_by_their_opening(tmp_path: Path) -> None:
    second, first = read(tmp_path, HEADER + FIRST + SECOND)
    assert first == ResultOfTrade(
        strategy="trend",
        symbol="BTCUSDT",
        opened_at_ms=1_735_689_600_000,
        closed_at_ms=1_735_693_200_000,
        r=Decimal("2.3"),
        pnl=Decimal(46),
    )
    assert (second.symbol, second.pnl) == ("ETHUSDT", Decimal("-20.5"))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + FIRST,
        HEADER.replace("\n", "\r\n") + FIRST.replace("\n", "\r\n"),
        HEADER + FIRST.rstrip(),
        HEADER + "\n" + FIRST + "\n\n",
        HEADER.upper() + FIRST.replace(",", " , "),
        HEADER.replace("\n", ",note\n") + FIRST.replace("\n", ',"a, b"\n'),
        "symbol,r,pnl_usd,strategy,closed_at_ms,opened_at_ms\n"
        "BTCUSDT,2.3,46,trend,1735693200000,1735689600000\n",
        HEADER + FIRST.replace("2.3", "+23e-1").replace("46", '"46."'),
    ],
    ids=["bom", "crlf", "no end", "empty lines", "blanks", "more columns", "order", "numbers"],
)
def test_writings_of_the_same_trade_are_read_alike(tmp_path: Path, text: str) -> None:
    (trade,) = read(tmp_path, text)
    (plain,) = read(tmp_path, HEADER + FIRST)
    assert trade == plain


def changed(column: str, value: str) -> str:
    """Return a good line, and a second one in which one value is replaced."""
    cells = SECOND.strip().split(",")
    cells[COLUMNS.index(column)] = value
    return HEADER + FIRST + ",".join(cells) + "\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADER + FIRST + FIRST, "line 3 repeats line 2"),
        (changed("r", "nan"), "line 3: r is 'nan', not a finite decimal number"),
        (changed("r", "-inf"), "line 3: r is '-inf', not a finite"),
        (changed("pnl_usd", "1_000"), "line 3: pnl_usd is '1_000', not a finite"),
        (changed("pnl_usd", "-1e400"), "line 3: pnl_usd is '-1e400', not a finite"),
        (changed("r", ""), "line 3: r is blank"),
        (changed("pnl_usd", "  "), "line 3: pnl_usd is blank"),
        (changed("strategy", ""), "line 3: strategy is blank"),
        (changed("symbol", ""), "line 3: symbol is blank"),
        (changed("closed_at_ms", ""), "line 3: closed_at_ms is blank"),
        (changed("opened_at_ms", "1735603200"), "line 3: opened_at_ms is 1735603200, which in ms"),
        (changed("closed_at_ms", "1735693200000000"), "line 3: closed_at_ms is 1735693200000000"),
        (changed("opened_at_ms", "1.7356e12"), "line 3: opened_at_ms is '1.7356e12', not a whole"),
        (
            changed("opened_at_ms", "2025-01-01"),
            "line 3: opened_at_ms is '2025-01-01', not a whole",
        ),
        (changed("opened_at_ms", "-5"), "line 3: opened_at_ms is '-5', not a whole"),
        (changed("opened_at_ms", "\u0661735603200000"), "not a whole number of ms"),
        (changed("opened_at_ms", "4102444800000"), "line 3: opened_at_ms is 4102444800000, which"),
        (changed("opened_at_ms", "1230767999999"), "line 3: opened_at_ms is 1230767999999, which"),
        (changed("opened_at_ms", "1735693200001"), "is before opened_at_ms 1735693200001"),
        (changed("r", "1"), "line 3: r 1 and pnl_usd -20.5 have opposite signs"),
        (changed("symbol", "X" * 101), "line 3: symbol has more than 100 characters"),
        (HEADER + "trend,1735603200000\n", "line 2 has 2 values, too few"),
        (HEADER, "has no trades"),
        ("", "is empty"),
        ("strategy,symbol\n", "line 1 lacks opened_at_ms, closed_at_ms, r, pnl_usd"),
        (HEADER.replace("\n", ",r\n") + FIRST, "line 1 has r twice"),
        (HEADER + 'trend,"1735603200000\n', "is not CSV"),
        (HEADER + "x" * ROW_CHARS_MAX + "\n", "line 2 is beyond the limits"),
        (HEADER.encode() + b"\xff\n", "is not UTF-8"),
    ],
)
def test_the_error_for_an_invalid_gate_file_has_its_path_and_the_reason(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    with pytest.raises(InvalidDataError) as error:
        read(tmp_path, text)
    assert reason in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "trades.csv"))


@pytest.mark.parametrize(
    ("r", "pnl"), [("0", "-3"), ("0.0", "3"), ("-1", "0"), ("2", "-0"), ("-0", "5")]
)
def test_a_zero_has_no_sign(tmp_path: Path, r: str, pnl: str) -> None:
    (trade,) = read(tmp_path, f"{HEADER}trend,1735603200000,1735603200000,X,{r},{pnl}\n")
    assert trade.r * trade.pnl == 0


def test_the_same_symbol_may_close_in_one_instant_for_two_strategies(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEADER + FIRST + FIRST.replace("trend", "other"))) == 2


@given(st.binary(max_size=300))
def test_any_bytes_after_the_header_are_read_as_trades_or_are_invalid(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        trades = read(folder, HEADER.encode() + data)
    except InvalidDataError:
        return
    assert trades


def test_the_error_for_a_missing_gate_file_has_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="cannot be read: No such file"):
        read_gate_file(tmp_path / "missing.csv")
