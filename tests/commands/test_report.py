"""`kamou report`: names, rounded figures with counts and intervals, and the JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kamou.cli import main
from kamou.commands.report_text import REPORT_FIGURES, STRATEGY_COLUMNS, figure_cells
from kamou.core.kinds import RunMode
from kamou.data_directory.folder import DataDirectory
from kamou.store import database
from kamou.web.daily_figures import Memo
from kamou.web.pages.results import _rows
from kamou.web.results import gather_results
from kamou.web.site import Site
from tests.small_demo import settings

Cli = Callable[..., tuple[int, str, str]]


def test_every_figure_of_the_results_page_has_the_same_name_in_the_report(
    journalled: DataDirectory, cli: Cli
) -> None:
    document = json.loads(cli("report", "--json")[1])
    assert set(document["performance"]) == {*REPORT_FIGURES, "trades"}
    with closing(database.open_reader(journalled.database)) as reader:
        site = Site(mode=RunMode.DEMO, currency="USDT", assumed_live=True)
        names = [row.name for row in _rows(gather_results(reader, site, Memo()))]
    own = [name for key, (name, _, _) in REPORT_FIGURES.items() if key != "max_drawdown_snapshots"]
    assert own == names


@pytest.mark.parametrize(
    ("name", "figure", "cells"),
    [
        (
            "return_twr",
            {"value": 0.08821, "low": -0.0114, "high": 0.2, "n": 20},
            ("Return", "+8.82%", "-1.14% to +20.00%", "20 complete days", ""),
        ),
        (
            "profit_factor",
            {"value": 1.23456, "low": 0.9, "high": None, "n": 1_204},
            ("Profit factor", "1.23", "0.90 to no upper bound", "1,204 closed trades", ""),
        ),
        (
            "expectancy_r",
            {"value": -0.04567, "low": -0.2, "high": 0.1, "n": 40},
            ("Expectancy", "-0.046 R", "-0.200 R to +0.100 R", "40 closed trades", ""),
        ),
        (
            "sharpe",
            {"value": None, "reason": "insufficient evidence", "n": 1},
            ("Sharpe ratio", "", "", "1 complete day", "insufficient evidence"),
        ),
        (
            "win_rate",
            {"value": 0.5125, "low": 0.4, "high": 0.6, "n": 80},
            ("Win rate", "51.2%", "40.0% to 60.0%", "80 closed trades", ""),
        ),
    ],
)
def test_a_figure_is_rounded_and_has_its_interval_and_its_count(
    name: str, figure: dict[str, object], cells: tuple[str, ...]
) -> None:
    assert figure_cells(name, figure) == cells


def test_the_tables_of_the_report_show_no_json_key(
    traded: DataDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--data-dir", str(traded.path)])
    shown = capsys.readouterr().out
    for raw in (*REPORT_FIGURES, *STRATEGY_COLUMNS, "equity_end", "mean_reversion"):
        assert raw not in shown or "_" not in raw
    assert "mean reversion" in shown
    assert "Equity" in shown
    assert settings(tmp_path).currency in shown
