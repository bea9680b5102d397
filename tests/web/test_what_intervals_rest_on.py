"""The count of an interval with fewer trades than its figure: page and report."""

from __future__ import annotations

import math
import re
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest

from kamou.core.book.events import TradeClosed
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import ExitReason, RunMode
from kamou.core.model import Side
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter
from kamou.store.queries import query_trades
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, write_record

DAYS, A_DAY, LATER = 15, 3, 7
RESTS_ON = f"of {DAYS * A_DAY} closed trades on complete days"


@pytest.fixture
def newer_trades(tmp_path: Path) -> Path:
    """Return a journal of 45 trades on 15 complete days, and 7 on the open day."""
    path = tmp_path / "kamou-data" / "kamou.sqlite3"
    path.parent.mkdir(mode=0o700)
    write_record(path, days=DAYS, trades_per_day=A_DAY, outage_day=None)
    with closing(open_writer(path, durable=False)) as connection:
        model = query_trades(connection, limit=1)[0]
        names = ("symbol", "strategy", "quantity", "contract_size", "entry_price", "exit_price")
        amounts = ("pnl_gross", "fees", "funding", "slippage", "pnl_net", "r_multiple")
        same = {name: getattr(model, name) for name in (*names, *amounts)}
        end_ms = START_MS + DAYS * DAY_MS
        JournalWriter(connection, run_number=1).append(
            [
                TradeClosed(
                    **same,
                    at_ms=end_ms + at * HOUR_MS,
                    cause_id="",
                    trade_id=f"later-{at}",
                    side=Side(model.side),
                    stop_price=model.stop_price,
                    opened_at_ms=end_ms,
                    closed_at_ms=end_ms + at * HOUR_MS,
                    exit_reason=ExitReason.TAKE_PROFIT,
                )
                for at in range(1, LATER + 1)
            ]
        )
    return path


def by_wilson(wins: int, n: int) -> tuple[str, str]:
    """Return the proportions 1.96 of their standard errors from the observed one."""
    z, p = 1.959963984540054, wins / n
    a, b, c = 1 + z * z / n, -(2 * p + z * z / n), p * p
    root = math.sqrt(b * b - 4 * a * c)
    low, high = (f"{100 * (-b + sign * root) / (2 * a):.1f}%" for sign in (-1, 1))
    return low, high


def text_of(fragment: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", fragment))).strip()


async def test_an_interval_over_fewer_trades_than_its_figure_shows_how_many_trades_it_has(
    newer_trades: Path, client: Client
) -> None:
    with closing(open_reader(newer_trades)) as reader:
        closed = query_trades(reader)
    total = DAYS * A_DAY + LATER
    assert len(closed) == total
    old = [trade for trade in closed if trade.closed_at_ms < START_MS + DAYS * DAY_MS]
    low, high = by_wilson(sum(trade.pnl_net > 0 for trade in old), len(old))
    share = f"{100 * sum(trade.pnl_net > 0 for trade in closed) / total:.1f}%"
    async with client(PublicSite(newer_trades, Site(mode=RunMode.DEMO), runner=inline)) as http:
        page = (await http.get("/results")).text
    figures = page.partition('<table class="figures">')[2].partition("</table>")[0]
    rows = [text_of(row) for row in re.findall(r"<tr>.*?</tr>", figures, re.DOTALL)]
    (win_rate,) = [row for row in rows if row.startswith("Win rate")]
    assert f"{share} {low} to {high} {RESTS_ON} {total} closed trades" in win_rate
    for row in rows:
        of_trades = row.startswith(("Win rate", "Expectancy", "Profit factor"))
        assert (RESTS_ON in row) == of_trades
    whole = page.partition('<tr class="total">')[2].partition("</tr>")[0]
    assert text_of(whole).count(f"of {DAYS * A_DAY} trades") == 3


def test_the_report_has_the_count_that_an_interval_rests_on(
    newer_trades: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kamou.cli import main

    with pytest.raises(SystemExit):
        main(["report", "--data-dir", str(newer_trades.parent)])
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if RESTS_ON in line]
    assert [line.split("│")[1].strip() for line in lines] == [
        "Win rate",
        "Expectancy",
        "Profit factor",
    ]


async def test_an_interval_over_all_trades_of_its_figure_shows_no_second_count(
    tmp_path: Path, client: Client
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=DAYS, trades_per_day=A_DAY, outage_day=None)
    async with client(PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)) as http:
        page = (await http.get("/results")).text
    assert "closed trades on complete days</small>" not in page
