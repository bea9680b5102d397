"""Tests of ``kamou run`` in the test's process: start, commands, stops, next runs."""

from __future__ import annotations

import os
import re
import signal
import threading
from decimal import Decimal as D
from pathlib import Path

import pytest
import trio

from kamou.core.book.events import CycleClosed, FillRecorded, RunStopped, StateChanged, TradeClosed
from kamou.core.book.run_events import HistoryCaughtUp, HistoryCutShort, HistoryStopped
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.kinds import RunEnd
from kamou.data_directory.folder import Announce, DataDirectory
from kamou.data_directory.latch import HaltLatch, LatchAction
from kamou.runs import demo, service
from kamou.runtime.leveled_lines import Progress
from kamou.runtime.watchdog import StopDeadline
from kamou.settings.config import DemoSettings, SupervisionSettings
from tests.small_demo import (
    NOW_MS,
    SetClock,
    assert_same_book,
    fills_of,
    folded,
    journal,
    of_kind,
    resolved,
    run_table,
    serving,
    settings,
    venue,
)
from tests.store.market_files import NOW_MS as RECORDED_MS
from tests.store.market_files import write_valid_files


class PausedProgress:
    """A progress sink that pauses the fast-forward until the test sets ``open``."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, what: str, done: int, total: int) -> None:
        self.reached.set()
        assert self.open.wait(30)


async def test_the_site_answers_during_the_fast_forward(tmp_path: Path) -> None:
    gate = PausedProgress()
    try:
        async with serving(settings(tmp_path), progress=gate) as demo:
            assert await trio.to_thread.run_sync(gate.reached.wait, 20)
            assert (await demo.get("/results")).status_code == 200
            assert (await demo.get("/healthz", operator=True)).status_code == 200
            waiting = await demo.get("/readyz", operator=True)
            assert waiting.status_code == 503
            assert "fast-forward" in waiting.text
            refused = await demo.command("resume")
            assert refused.status_code == 503
            assert "not trading yet: the run fast-forwards through" in refused.text
            gate.open.set()
            await demo.ready()
            results = (await demo.get("/results.json")).json()
            assert results["mode"] == "demo"
            assert results["trades_total"] > 10
    finally:
        gate.open.set()


async def test_a_halt_during_the_fast_forward_ends_it_and_blocks_entries(tmp_path: Path) -> None:
    gate = PausedProgress()
    try:
        async with serving(settings(tmp_path), progress=gate) as demo:
            assert await trio.to_thread.run_sync(gate.reached.wait, 20)
            held = await demo.command("halt", "early")
            assert (held.status_code, held.json()["entries"]) == (200, "held")
            gate.open.set()
            await demo.ready()
            state = await demo.status()
            assert (state["state"], state["state_reason"]) == ("reduce_only", "OPERATOR_HALT")
        assert not venue(demo.data_dir).positions, "no entry filled after the halt"
    finally:
        gate.open.set()


async def test_the_operator_halts_resumes_and_flattens_over_http(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as demo:
        await demo.ready()
        held = len(venue(demo.data_dir).positions)
        assert held, "the market of this date ends with open positions"
        halted = (await demo.command("halt", "news")).json()
        assert (halted["state"], halted["reason"]) == ("reduce_only", "OPERATOR_HALT")
        assert (
            "halted by the operator: news; trading state reduce_only, no new trades; before active"
            in demo.said
        )
        assert (await demo.status())["state"] == "reduce_only"
        assert (await demo.command("resume", "over")).json()["state"] == "active"
        flat = (await demo.command("flatten", "storm")).json()
        assert (flat["state"], flat["positions_left"]) == ("flattening", 0)
        while not (closed := [line for line in demo.said if line.startswith("flatten: ")]):  # noqa: ASYNC110 - announced by the run
            await trio.sleep(0.02)
        assert re.fullmatch(
            rf"flatten: {held} positions? closed, net PnL [+-][\d,.]+ USDT after fees of [\d,.]+"
            r" USDT and slippage of -?[\d,.]+ USDT; no position is left",
            closed[0],
        ), closed
        while venue(demo.data_dir).live:  # noqa: ASYNC110 - another connection's rows
            await trio.sleep(0.02)
        assert (await demo.command("resume")).json()["state"] == "reduce_only"
        assert (await demo.command("resume")).json()["state"] == "active"
    assert not venue(demo.data_dir).positions
    assert_same_book(demo.data_dir)
    notes = [f.value for e in of_kind(journal(demo.data_dir), StateChanged) for f in e.figures]
    assert {"news", "over", "storm"} <= set(notes)


async def test_the_operators_status_agrees_with_the_venues_own_positions(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as demo:
        await demo.ready()
        told = await demo.status()
        held = venue(demo.data_dir).positions
        assert {row["symbol"] for row in told["positions"]} == set(held)
        for row in told["positions"]:
            of = held[row["symbol"]]
            sign = 1 if of.quantity > 0 else -1
            assert row["side"] == ("long" if sign > 0 else "short")
            assert D(row["quantity"]) * sign == of.quantity
            assert abs(D(row["entry_price"]) - of.entry_price) < D("1e-9")
            units = D(row["quantity_base"]) * sign
            made = units * (D(row["mark_price"]) - of.entry_price)
            assert abs(D(row["unrealized_pnl"]) - made) < D("1e-6")
            assert row["stop_confirmed"], "every stop is confirmed once the run is ready"
            away = (D(row["mark_price"]) - D(row["stop_price"])) * sign / D(row["mark_price"])
            assert abs(D(row["stop_distance"]) - away) < D("1e-20")
        oldest_ms = min(row["mark_at_ms"] for row in told["positions"])
        assert oldest_ms >= 1000 * told["gauges"]["equity_timestamp_seconds"], (
            "newer than its cycle"
        )
        ready = (await demo.get("/readyz", operator=True)).json()
        assert (ready["state"], ready["message"]) == ("active", "ready; trading state active")


async def test_an_orderly_stop_leaves_the_stops_and_the_next_run_has_the_same_book(
    tmp_path: Path,
) -> None:
    async with serving(settings(tmp_path)) as demo:
        await demo.ready()
    data_dir = demo.data_dir
    assert_same_book(data_dir)
    assert run_table(data_dir) == [(1, "stopped"), (2, "stopped")]
    before, trades = folded(journal(data_dir)), len(of_kind(journal(data_dir), TradeClosed))
    assert before.trades.open

    async with serving(settings(tmp_path), now_ms=NOW_MS + MINUTE_MS) as demo:
        await demo.ready()
        assert not any("fast-forward" in line for line in demo.said)
        assert any(
            line.startswith("carried over from run 2, which stopped at ") for line in demo.said
        )
    after = folded(journal(data_dir))
    assert run_table(data_dir)[-1] == (3, "stopped")
    assert len(of_kind(journal(data_dir), TradeClosed)) >= trades
    kept = {t.trade_id for t in after.trades.open.values()}
    gone = {e.trade_id for e in of_kind(journal(data_dir), TradeClosed)}
    assert {t.trade_id for t in before.trades.open.values()} <= kept | gone
    assert_same_book(data_dir)


def test_a_stop_signal_ends_the_fast_forward_in_order_and_the_next_run_continues_it(
    tmp_path: Path,
) -> None:
    told: list[int] = []

    def interrupt(what: str, done: int, total: int) -> None:
        told.append(done)
        if len(told) == 200:  # cycles, within the first of the two days
            os.kill(os.getpid(), signal.SIGTERM)

    def run(progress: Progress, announce: Announce) -> int:
        return service.run(
            resolved(settings(tmp_path)),
            fast_forward=True,
            replay=None,
            progress=progress,
            announce=announce,
            clock=SetClock(),
        )

    said: list[str] = []
    assert run(interrupt, said.append) == 0
    assert any(
        line.startswith("fast-forward was cut short at 2026-01-01 ")
        and ", the next run continues the fast-forward up to 2026-01-02 12:00 UTC: " in line
        for line in said
    )
    data_dir = DataDirectory(tmp_path)
    events = journal(data_dir)
    assert events[-1] == RunStopped(
        at_ms=events[-1].at_ms, cause_id="run:1", run_number=1, reason=RunEnd.STOPPED
    )
    assert NOW_MS - 2 * DAY_MS < events[-1].at_ms < NOW_MS - DAY_MS
    known = {e.fill.key for e in of_kind(journal(data_dir), FillRecorded)}
    assert known == fills_of(data_dir), "the journal has the fills of the last step"

    def then_stop(what: str, done: int, total: int) -> None:
        if len(told) == 250:
            os.kill(os.getpid(), signal.SIGINT)
        told.append(done)

    assert run(then_stop, said.append) == 0
    (on,) = [line for line in said if line.startswith("fast-forward goes on: ")]
    assert "simulated time from 2026-01-01 " in on
    resumed = journal(data_dir)[len(events) :]
    assert min(e.at_ms for e in resumed) >= events[-1].at_ms, "no hour is simulated twice"
    assert run_table(data_dir) == [(1, "stopped"), (2, "stopped")]
    known = {e.fill.key for e in of_kind(journal(data_dir), FillRecorded)}
    assert known == fills_of(data_dir), "the journal has the fills of the last step"

    trio.run(_assert_downtime_between_stops, tmp_path, NOW_MS + 36 * HOUR_MS)


async def _assert_downtime_between_stops(data_dir: Path, now_ms: int) -> None:
    async with serving(settings(data_dir), now_ms=now_ms) as running:
        await running.ready()
        told = (await running.get("/results.json")).json()
    (made,) = of_kind(journal(running.data_dir), HistoryCaughtUp)
    assert now_ms <= made.since_ms <= made.at_ms, "the fast-forward is no downtime"
    stops = of_kind(journal(running.data_dir), HistoryStopped)
    assert [NOW_MS <= stop.since_ms <= stop.until_ms < now_ms for stop in stops] == [True, True]
    (gap,) = told["downtime"]
    assert (gap["from_ms"], gap["until_ms"], gap["cause"]) == (
        max(stop.until_ms for stop in stops),
        made.since_ms,
        "stop",
    )
    async with serving(settings(data_dir), now_ms=now_ms + HOUR_MS) as running:
        await running.ready()
    assert of_kind(journal(running.data_dir), HistoryCaughtUp) == [made]
    assert_same_book(running.data_dir)


@pytest.mark.parametrize("stuck_in", ["source", "history"])
def test_a_stop_signal_ends_a_run_whose_thread_does_not_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck_in: str
) -> None:
    monkeypatch.setattr(StopDeadline, "start", lambda _: None)  # it would end the test process
    released = threading.Event()
    said: list[str] = []

    def stuck(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        released.wait(60)

    if stuck_in == "source":
        monkeypatch.setattr(demo, "open_source", stuck)
    else:
        monkeypatch.setattr(demo.FastForward, "run", stuck)
    of = settings(tmp_path, supervision=SupervisionSettings(grace_s=1))
    try:
        code = service.run(
            resolved(of),
            fast_forward=True,
            replay=None,
            progress=lambda what, done, total: None,
            announce=said.append,
            clock=SetClock(),
        )
        assert not released.is_set()
    finally:
        released.set()
    assert code == 0
    assert any("fast-forward did not stop within" in line for line in said) is (
        stuck_in == "history"
    )


async def test_the_halt_latch_ends_the_fast_forward_and_real_time_closes_all_positions(
    tmp_path: Path,
) -> None:
    latch = HaltLatch(DataDirectory(tmp_path).latch)
    seen: list[int] = []

    def latched(what: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 250:
            latch.set("test", "operator", NOW_MS)

    async with serving(settings(tmp_path), progress=latched) as demo:
        await demo.ready()
        assert len(seen) < 300
        assert (await demo.status())["state"] == "flattening"
        while venue(demo.data_dir).positions:  # noqa: ASYNC110 - another connection's rows
            await trio.sleep(0.02)
    assert_same_book(demo.data_dir)


async def test_days_that_a_halt_skips_are_announced_and_published_as_skipped(
    tmp_path: Path,
) -> None:
    latch = HaltLatch(DataDirectory(tmp_path).latch)
    seen: list[int] = []

    def halt(what: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 250:
            latch.set("test", "operator", NOW_MS, action=LatchAction.HALT)

    async with serving(settings(tmp_path), progress=halt) as demo:
        await demo.ready()
        told = (await demo.get("/results.json")).json()
        page = (await demo.get("/results")).text
    simulated = [e.at_ms for e in of_kind(journal(demo.data_dir), CycleClosed) if e.at_ms < NOW_MS]
    (cut,) = of_kind(journal(demo.data_dir), HistoryCutShort)
    assert cut.until_ms == NOW_MS <= cut.since_ms <= cut.at_ms
    (gap,) = told["downtime"]
    assert gap["cause"] == "skipped"
    assert (gap["from_ms"], gap["until_ms"]) == (simulated[-1], NOW_MS)
    assert told["halts"][0]["from_ms"] >= NOW_MS, "a halt begins at its own time"
    assert "skipped: a halt cut the fast-forward short" in page
    assert "stopped by the operator" not in page
    (line,) = [line for line in demo.said if line.startswith("fast-forward was cut short at ")]
    assert " by the halt latch: " in line
    assert (
        " to 2026-01-02 12:00 UTC is skipped, only stops and take-profit orders act in it;"
        " real time follows, without new trades until `kamou resume`" in line
    )


async def test_a_demo_that_starts_halted_announces_the_days_that_it_skips(tmp_path: Path) -> None:
    data_dir = DataDirectory(tmp_path)
    data_dir.create()
    HaltLatch(data_dir.latch).set("early", "operator", NOW_MS, action=LatchAction.HALT)
    async with serving(settings(tmp_path)) as demo:
        await demo.ready()
        assert (await demo.get("/results.json")).json()["downtime"] == []
    span = "the time from 2025-12-31 12:00 UTC to 2026-01-02 12:00 UTC"
    assert any(
        line.startswith(f"no fast-forward, the halt latch is set; {span} is skipped, ")
        for line in demo.said
    )


async def test_the_site_stays_up_after_a_replay_of_recorded_bars_has_ended(tmp_path: Path) -> None:
    recorded = write_valid_files(tmp_path / "recorded")
    of = settings(tmp_path / "data", demo=DemoSettings(days=1))
    async with serving(of, now_ms=RECORDED_MS, replay=recorded) as demo:
        while not any("replay has ended" in line for line in demo.said):  # noqa: ASYNC110 - announced once
            await trio.sleep(0.01)
        page = (await demo.get("/results")).text
        assert "Demo: a replay of recorded market data, and simulated money" in page
        assert "simulated market" not in page
        assert "<dd>the replay has ended</dd>" in page
        assert "replayed" in (await demo.get("/readyz", operator=True)).text
    assert run_table(demo.data_dir) == [(1, "stopped")]

    # The next run has nothing left to replay and serves the same results.
    async with serving(of, now_ms=RECORDED_MS, replay=recorded) as demo:
        assert (await demo.get("/results")).status_code == 200
    assert run_table(demo.data_dir) == [(1, "stopped")]


async def test_a_replay_that_the_halt_latch_cuts_short_is_announced_as_cut_short(
    tmp_path: Path,
) -> None:
    recorded = write_valid_files(tmp_path / "recorded")
    of = settings(tmp_path / "data", demo=DemoSettings(days=1))
    data_dir = DataDirectory(tmp_path / "data")
    data_dir.create()
    HaltLatch(data_dir.latch).set("early", "operator", RECORDED_MS, action=LatchAction.HALT)
    async with serving(of, now_ms=RECORDED_MS, replay=recorded) as demo:
        while not any("the replay was cut short" in line for line in demo.said):  # noqa: ASYNC110 - announced once
            await trio.sleep(0.01)
        assert "ended" not in str((await demo.get("/results.json")).json()["ended"])
    assert any("is not traded yet; stop this run and remove the latch with" in s for s in demo.said)
