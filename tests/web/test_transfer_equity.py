"""The equity that is published with a transfer is the venue's own, just before it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from kamou.core.kinds import RunMode
from kamou.venue.engine import Engine
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.histories import STEP_MS, History, trade

HISTORIES = (
    History(
        name="transfers while running",
        seed=21,
        runs=((9.0, 60.0),),
        moves=((12.13, 700), (30.41, 1000), (30.47, -400), (47.999, 250)),
    ),
    History(
        name="transfers while stopped",
        seed=22,
        runs=((3.0, 42.1), (54.2, 70.0)),
        moves=((42.31, 1000), (42.77, -2000)),
    ),
)


@pytest.fixture(params=HISTORIES, ids=lambda history: history.name)
def stated(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[int, Decimal]:
    """Trade a history, and return the equity just before each of its transfers."""
    found: dict[int, Decimal] = {}
    held: list[int] = []
    move = Engine.transfer

    def noted(engine: Engine, amount: Decimal) -> None:
        assert engine.market_ms % STEP_MS, "within a bar"
        found[engine.market_ms] = engine.account().equity
        held.append(len(engine.positions()))
        move(engine, amount)

    monkeypatch.setattr(Engine, "transfer", noted)
    trade(request.param, tmp_path)
    assert all(held), "positions are open at each transfer"
    return found


async def test_the_equity_before_a_transfer_within_a_bar_is_that_of_the_account(
    stated: dict[int, Decimal], tmp_path: Path, client: Client
) -> None:
    journal = tmp_path / "kamou.sqlite3"
    site = PublicSite(journal, Site(mode=RunMode.DEMO, assumed_live=True), runner=inline)
    async with client(site) as http:
        document = (await http.get("/results.json")).json()
    shown = {row["at_ms"]: Decimal(row["equity_before"]) for row in document["transfers"]}
    assert shown == stated
    assert {row["marks_from"] for row in document["transfers"]} == {"mark_history"}
