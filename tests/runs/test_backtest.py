"""Tests of a backtest: it depends on its inputs, and no entry avoids the governor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kamou.actors.base import Actor
from kamou.actors.reconciler import Reconciler
from kamou.app import Tree
from kamou.clock import SimulatedClock
from kamou.core.book.book_state import BookState
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import Deny
from kamou.core.day import DAY_MS, midnight_ms_of, utc_day
from kamou.core.model import Denial, FillReport
from kamou.core.record.backtest_document import BacktestReport
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.verdict import Denied
from kamou.data_directory.folder import MEMORY
from kamou.errors import ConfigurationError, StoreError, find_error_to_show
from kamou.messages.orders import ReviewEntry
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.backtest import ReplayParts, replay, run
from kamou.runs.backtest_options import BacktestOptions
from kamou.runs.backtest_report import _by_strategy
from kamou.runs.crash_stop import ActorCrashedError
from kamou.runs.cycle_length import fit_cycle
from kamou.runs.watching import Watch
from kamou.runtime.supervision import RestartStormError
from kamou.settings.config import CycleSettings, Resolved, Settings
from kamou.settings.strategies import StrategySettings
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.actors import scripted_market
from tests.actors.still_market import MIDNIGHT_MS, still_market
from tests.actors.system_harness import SETTINGS, at, replaced, strategy_files
from tests.store import market_files, story

SPAN = (scripted_market.START_MS, at(scripted_market.MINUTES))


def run_scripted(settings: Settings = SETTINGS, **more: Any) -> BacktestReport:
    with strategy_files():
        return replay(settings, scripted_market.market(), **({"timerange": SPAN} | more))


@pytest.mark.parametrize("taker_bps", ["3", "17"])
def test_a_backtest_charges_the_fee_of_the_settings(taker_bps: str) -> None:
    fills: list[FillReport] = []
    costs = attrs.evolve(SETTINGS.costs, taker_bps=D(taker_bps))
    market = scripted_market.market()
    found = run_scripted(
        attrs.evolve(SETTINGS, costs=costs),
        parts=ReplayParts(inspect=lambda engine: fills.extend(engine.fills(0))),
    )
    size = {each.symbol: each.contract_size for each in market.instruments}
    taken = [fill for fill in fills if not fill.maker]
    assert taken
    for fill in taken:
        paid = fill.quantity * fill.price * size[fill.symbol] * D(taker_bps) / 10_000
        assert fill.fee == pytest.approx(paid)
    assert D(found["fees"]) == pytest.approx(sum(fill.fee for fill in fills))


@pytest.mark.parametrize("bar_s", [300, 3_600])
def test_a_backtest_reads_the_account_once_a_cycle_however_long_its_bars_are(
    bar_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two bars no price is known, so another read would find the same account."""
    cycles: list[int] = []
    tick = Reconciler.tick

    async def counted(reconciler: Reconciler) -> None:
        cycles.append(reconciler.clock.now_ms() // (bar_s * 1000))
        await tick(reconciler)

    monkeypatch.setattr(Reconciler, "tick", counted)
    market = still_market(bar_s * 1000)
    replay(Settings(), market, timerange=(MIDNIGHT_MS - 6 * bar_s * 1000, None))
    counts = Counter(cycles)
    last = MIDNIGHT_MS // (bar_s * 1000)
    # The first cycle has the read of the recovery, too, and a day opens on two reads that agree.
    assert [counts[cycle] for cycle in range(last - 5, last + 4) if cycle != last] == [1] * 8


class DenyAll(Actor[Any]):
    """A governor that denies every plan."""

    async def handle(self, message: object) -> None:
        await trio.lowlevel.checkpoint()

    async def answer(self, message: object) -> Denied | None:
        await trio.lowlevel.checkpoint()
        if not isinstance(message, ReviewEntry):
            return None
        denial = Denial(code=Deny.SYMBOL_RESTRICTED.value)
        return Denied(permit_id=message.plan.permit_id, denials=(denial,))


def deny_all(tree: Tree) -> Tree:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        await DenyAll(
            name="risk_governor",
            inbox=tree.governor,
            clock=SimulatedClock(start_ms=scripted_market.START_MS),
            handler_deadline_s=30.0,
        ).run(task_status)

    return replaced(tree, "risk_governor", start)


def test_with_a_governor_that_denies_all_a_backtest_sends_no_order() -> None:
    assert run_scripted()["orders"] > 0
    found = run_scripted(parts=ReplayParts(arrange=deny_all))
    assert found["candidates"] > 0
    assert (found["orders"], found["fills"], found["trades"]) == (0, 0, 0)
    assert scripted_market.D(found["equity_end"]) == scripted_market.D(found["equity_start"])


def crash_governor(tree: Tree) -> Tree:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(90)
        raise LookupError("on purpose")

    return replaced(tree, "risk_governor", start)


def test_a_backtest_ends_with_an_error_that_names_the_first_actor_that_crashed() -> None:
    with pytest.raises(ActorCrashedError) as caught:
        run_scripted(parts=ReplayParts(arrange=crash_governor, keep_going=True))
    first, *trace, last = caught.value.args
    assert "/risk_governor crashed: LookupError('on purpose'), at runs/test_backtest.py:" in first
    assert '|     raise LookupError("on purpose")' in trace
    assert last == "the backtest has no report; open an issue with these lines"
    assert caught.value.exit_code == 1


def test_a_backtest_whose_actor_never_starts_ends_with_an_error() -> None:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("the journal cannot be read")

    with pytest.raises(ExceptionGroup) as caught:
        run_scripted(parts=ReplayParts(arrange=lambda tree: replaced(tree, "risk_governor", start)))
    assert isinstance(find_error_to_show(caught.value), RestartStormError)


def test_a_strategy_without_a_grant_of_the_gate_sends_no_order() -> None:
    class GateWithoutGrants:
        label = "nobody"

        def find_grant(self, strategy: str, book: BookState) -> LiveGrant | None:
            return None

    found = run_scripted(parts=ReplayParts(gate=GateWithoutGrants()))
    assert (found["orders"], found["refused"] > 0) == (0, True)


def test_the_assumed_live_gate_grants_a_strategy_with_the_basis_assumed() -> None:
    grant = AssumedLiveGate().find_grant("any", PositionBook())
    assert grant == LiveGrant(strategy="any", basis="assumed")


def test_the_report_of_a_backtest_has_the_counts_of_the_scripted_market() -> None:
    found = run_scripted()
    assert found["violation_list"] == []
    assert found["trades"] == 7
    assert found["fills"] == 18
    assert found["vetoed"] == 1
    assert found["refused"] == 1
    line = found["by_strategy"]["scripted"]
    assert (line["trades"], line["wins"]) == (7, 3)
    gained = scripted_market.D(found["equity_end"]) - scripted_market.D(found["equity_start"])
    assert abs(gained - scripted_market.D(line["pnl_net"])) < 5  # the rest is still open
    assert found["max_drawdown"] < 0
    assert scripted_market.D(found["worst_overshoot_r"]) > 1  # the gap at minute 5
    assert json.dumps(found)


def test_a_report_lists_each_enabled_strategy_with_its_signals_also_without_a_trade() -> None:
    both = StrategySettings(enabled=("scripted", "mean_reversion"))
    found = run_scripted(attrs.evolve(SETTINGS, strategies=both))
    assert list(found["by_strategy"]) == ["mean_reversion", "scripted"]
    counted = found["by_strategy"]["scripted"]["candidates"]
    assert counted == found["candidates"] > 0
    quiet = found["by_strategy"]["mean_reversion"]
    assert (quiet["candidates"], quiet["trades"], quiet["mean_r"]) == (0, 0, None)
    assert list(quiet["abstained"]) == ["WARMING_UP"]
    assert quiet["wanted"] == {}, "the meaning of WARMING_UP is the same for all strategies"
    abstained = [sum(each["abstained"].values()) for each in found["by_strategy"].values()]
    assert sum(abstained) == found["abstained"]


def test_the_mean_r_of_a_strategy_leaves_out_trades_without_r_and_counts_them() -> None:
    made = [("a", "own", D(2)), ("b", "own", D(-1)), ("c", "own", None), ("d", "adopted", None)]
    with closing(database.open_writer(MEMORY)) as connection:
        JournalWriter(connection, run_number=1).append(
            [
                attrs.evolve(
                    story.make_trade_close(), trade_id=name, strategy=strategy, r_multiple=r
                )
                for name, strategy, r in made
            ]
        )
        found = _by_strategy(connection)
    assert found["own"]["mean_r"] == 0.5
    assert (found["own"]["trades"], found["own"]["without_r"]) == (3, 1)
    assert (found["adopted"]["mean_r"], found["adopted"]["without_r"]) == (None, 1)


def test_equal_inputs_give_equal_reports_and_another_first_equity_gives_other_digests() -> None:
    first, second = run_scripted(), run_scripted()
    assert first == second
    other = run_scripted(attrs.evolve(SETTINGS, equity=scripted_market.D(20_000)))
    assert other["digest"] != first["digest"]
    assert other["facts_digest"] != first["facts_digest"]


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_a_process_with_another_hash_seed_computes_the_same_digest(hash_seed: str) -> None:
    program = f"from {__name__} import run_scripted; print(run_scripted()['digest'])"
    root = str(Path(__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({root!r}); {program}"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.strip() == run_scripted()["digest"]


def test_a_backtest_reports_its_progress_in_days() -> None:
    calls: list[tuple[str, int, int]] = []
    run_scripted(watch=Watch(progress=lambda what, done, total: calls.append((what, done, total))))
    assert calls[-1] == ("days", 0, 1)


@pytest.mark.parametrize("asked", [(at(100_000), at(200_000)), (at(100_000), None), (None, DAY_MS)])
def test_a_time_range_without_a_cycle_is_an_error_with_the_range_of_the_data(
    asked: tuple[int | None, int | None],
) -> None:
    with pytest.raises(ConfigurationError, match="holds no cycle") as refused:
        run_scripted(timerange=asked)
    line = str(refused.value)
    found = re.search(r"covers (\S+) to (\S+); pass --timerange (\d{8})-(\d{8}), or", line)
    assert found is not None, line
    since, until = (
        midnight_ms_of(f"{day[:4]}-{day[4:6]}-{day[6:]}") for day in (found[3], found[4])
    )
    market = scripted_market.market()
    assert since <= market.first_ms <= market.last_ms < until
    assert [found[1], found[2]] == [utc_day(market.first_ms), utc_day(market.last_ms)]


def test_a_cycle_period_below_the_bar_period_is_raised_to_the_bar_period() -> None:
    hourly = fit_cycle(Settings(cycle=CycleSettings(period_s=300)), 3_600_000)
    assert hourly.cycle.period_s == 3_600
    assert fit_cycle(SETTINGS, 60_000).cycle.period_s == SETTINGS.cycle.period_s


def test_a_backtest_of_a_directory_uses_the_chosen_symbols_and_replaces_no_journal(
    tmp_path: Path,
) -> None:
    data_dir = market_files.write_valid_files(tmp_path / "data")
    kept = tmp_path / "journal.sqlite3"
    chosen = StrategySettings(enabled=("mean_reversion",))
    settings = Settings(data_dir=tmp_path / "stored", strategies=chosen)
    resolved = Resolved(settings=settings, origins={}, digest="")
    options = BacktestOptions(symbols=("BTCUSDT", "ETHUSDT"), journal=kept)
    found = run(resolved, data=str(data_dir), options=options)
    assert (found["symbols"], found["bars"]) == (2, 2 * market_files.BARS)
    assert found["abstained"] > 0
    assert found["cpu_s"] >= 0
    assert kept.exists()
    with pytest.raises(StoreError, match="exists"):
        run(resolved, data=str(data_dir), options=options)


def test_a_backtest_that_is_stopped_reports_what_was_done_until_then() -> None:
    whole = run_scripted()
    asked: list[int] = []

    def is_stopping() -> bool:
        asked.append(1)
        return len(asked) == 6

    found = run_scripted(watch=Watch(is_stopping=is_stopping))
    assert found["tested"]["interrupted"]
    assert not whole["tested"]["interrupted"]
    assert found["tested"]["until_ms"] == whole["tested"]["until_ms"]
    assert 0 < found["cycles"] < whole["cycles"]
    done = len(found["equity_curve"])
    assert found["equity_curve"] == whole["equity_curve"][:done]
    ended = [each for each in whole["trade_list"] if each["closed_at_ms"] <= at(5)]
    assert found["trade_list"][: len(ended)] == ended
    assert found["violation_list"] == []


def test_a_backtest_that_is_stopped_in_its_first_cycle_has_a_report_without_trades() -> None:
    found = run_scripted(watch=Watch(is_stopping=lambda: True))
    assert (found["trades"], found["trade_list"]) == (0, [])
    assert D(found["equity_end"]) == D(found["equity_start"])
    assert found["figures"]["exposure_time"]["value"] in (None, 0.0)
    json.dumps(found, allow_nan=False)
