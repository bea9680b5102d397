"""Figures shown below 14 complete days and 30 closed trades, and their texts."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from kamou.core.kinds import RunMode
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import write_record

OF_DAYS = {"return_twr", "max_drawdown", "sharpe", "sortino"}
OF_DAYS_AND_TRADES = {"expectancy_r", "profit_factor"}
NO_EVIDENCE = "insufficient evidence: "


@pytest.mark.parametrize(
    ("days", "a_day", "shown", "reason"),
    [
        # the record's last day is half a day, without trades
        (13, 4, {"win_rate"}, "13 complete days, 14 needed"),
        (1, 29, set(), "29 closed trades on complete days, 30 needed"),
        (1, 30, {"win_rate"}, "1 complete day, 14 needed"),
        (14, 3, OF_DAYS | OF_DAYS_AND_TRADES | {"win_rate"}, ""),
        (14, 2, OF_DAYS, "28 closed trades on complete days, 30 needed"),
        (1, 1, set(), "1 closed trade on complete days, 30 needed"),
    ],
)
async def test_figures_are_shown_from_the_counts_that_how_it_works_names(
    tmp_path: Path, client: Client, days: int, a_day: int, shown: set[str], reason: str
) -> None:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=days, trades_per_day=a_day, outage_day=None)
    async with client(PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)) as http:
        found = (await http.get("/results.json")).json()
        page = unescape((await http.get("/results")).text)
        words = re.sub(r"\s+", " ", unescape((await http.get("/how-it-works")).text))
    figures = found["performance"]
    known = {name for name in OF_DAYS | OF_DAYS_AND_TRADES | {"win_rate"} if figures[name]["value"]}
    assert known == shown
    for name in OF_DAYS | OF_DAYS_AND_TRADES | {"win_rate"}:
        if name not in shown and (name not in OF_DAYS or not reason.endswith("30 needed")):
            assert figures[name]["reason"] == NO_EVIDENCE + reason
            assert NO_EVIDENCE + reason in page
    assert not re.search(r"(?<![\d.,])1\s+(<small>)?(complete days|closed trades|days)\b", page)
    for strategy in found["strategies"]:
        own = strategy["performance"]
        enough = own["win_rate"].get("interval", {}).get("n", 0) >= 30
        assert (own["win_rate"]["value"] is not None) == enough
    assert (
        "Below 14 complete days no return, drawdown, ratio, expectancy and profit factor is shown;"
        " below 30 closed trades on complete days no win rate, expectancy and profit factor."
    ) in words
    assert "The win rate needs the trades alone" in words
