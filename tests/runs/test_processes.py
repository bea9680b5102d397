"""Tests of ``kamou run`` as a process: signals, kills, a second and a hung run.

There are few tests, because each starts the whole system. Each wait is bounded.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from kamou.cli import main
from kamou.clock import SystemClock
from kamou.commands import operator
from kamou.core.book.events import EquityRecorded, PermitGranted, RunStarted, TradeClosed
from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.runs import flatten
from kamou.store import database, queries
from tests.small_demo import (
    NOW_MS,
    SetClock,
    assert_same_book,
    folded,
    journal,
    of_kind,
    run_table,
    venue,
)

WITHIN_S = 60.0  # far beyond what any wait here takes
GRACE_S = 10.0  # the default of supervision.grace_s

CONFIGURATION = """
[demo]
seed = 7
symbols = 8
warmup_days = 1
edges = "none"
days = {days}

[web]
site_nice = 0

[veto]
enabled = ["conflict", "cooldown", "excluded", "held", "reward_to_risk", "staleness"]

[strategies]
enabled = ["mean_reversion"]

[strategies.mean_reversion]
window = 50
warmup = 60
z_entry = 1.0
rsi_low = 40.0
rsi_high = 60.0
adx_max = 60.0
efficiency_max = 0.6
"""


@attrs.define(eq=False)
class RunningProcess:
    """A run in its own process."""

    process: trio.Process
    data_dir: DataDirectory
    said: list[str]
    listening: trio.Event

    async def ready(self) -> None:
        """Wait until the run has recovered and reconciled."""
        while True:
            if (await self.ask("/readyz")).status_code == 200:
                return
            await trio.sleep(0.02)

    async def ask(self, path: str) -> httpx.Response:
        record = RunRecord.read(self.data_dir)
        assert record is not None
        assert record.pid == self.process.pid
        bearer = {"Authorization": f"Bearer {self.data_dir.token.read_text().strip()}"}
        async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S, headers=bearer) as http:
            return await http.get(f"http://127.0.0.1:{record.operator_port}{path}")

    async def stop_with(self, by: signal.Signals) -> int:
        self.process.send_signal(by)
        return await self.process.wait()


def command(data_dir: DataDirectory, now_ms: int, days: int = 2, port: int = 0) -> list[str]:
    """Return the command line of a run whose clock shows ``now_ms``."""
    configuration = data_dir.path.with_name("kamou.toml")
    configuration.write_text(CONFIGURATION.format(days=days))
    launcher = Path(__file__).with_name("at_date.py")
    ahead_ms = now_ms - SystemClock().now_ms()
    verb = ["run", "--config", str(configuration), "--data-dir", str(data_dir.path)]
    ports = ["--port", str(port), "--operator-port", "0"]
    return [sys.executable, str(launcher), str(ahead_ms), *verb, *ports]


@asynccontextmanager
async def start_run(
    data_dir: DataDirectory,
    now_ms: int = NOW_MS,
    days: int = 2,
    port: int = 0,
    within_s: float = WITHIN_S,
    **options: Any,
) -> AsyncIterator[RunningProcess]:
    """Start a run, yield it once it listens, and kill it at the end."""
    process = await trio.lowlevel.open_process(
        command(data_dir, now_ms, days, port),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        **options,
    )
    running = RunningProcess(process=process, data_dir=data_dir, said=[], listening=trio.Event())
    try:
        with trio.fail_after(within_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read, running)
                await running.listening.wait()
                yield running
                nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stderr is not None
            await process.stderr.aclose()


async def _read(running: RunningProcess) -> None:
    assert running.process.stderr is not None
    text = ""
    async for chunk in running.process.stderr:
        text += chunk.decode()
        *lines, text = text.split("\n")
        running.said.extend(lines)
        if any(" INFO operator: " in line for line in lines):
            running.listening.set()
    assert running.listening.is_set(), "\n".join(running.said)


@pytest.fixture(autouse=True)
def _hangup_not_ignored() -> Iterator[None]:
    """Start every run as from a terminal; under nohup it inherits an ignored SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def head_seq(data_dir: DataDirectory) -> int:
    with closing(database.open_reader(data_dir.database)) as reader:
        return queries.head_seq(reader)


# --- stops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_stop_signal_stops_a_run_in_order_within_the_grace_and_leaves_the_stops(
    traded: DataDirectory, number: signal.Signals
) -> None:
    async with start_run(traded, NOW_MS + MINUTE_MS) as running:
        await running.ready()
        with trio.fail_after(GRACE_S):
            assert await running.stop_with(number) == 0
    assert run_table(traded)[-1] == (3, "stopped")
    assert venue(traded).positions
    assert_same_book(traded)


async def test_a_hangup_signal_is_ignored_if_it_was_ignored_at_the_start(
    traded: DataDirectory,
) -> None:
    """``nohup`` starts its process with SIGHUP ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with start_run(traded, NOW_MS + MINUTE_MS) as running:
            signal.signal(signal.SIGHUP, before)
            await running.ready()
            running.process.send_signal(signal.SIGHUP)
            await running.ready()
            assert await running.stop_with(signal.SIGTERM) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run_table(traded)[-1] == (3, "stopped")


async def test_a_second_run_on_a_data_directory_fails_and_names_the_first(
    traded: DataDirectory,
) -> None:
    async with start_run(traded, NOW_MS + MINUTE_MS) as running:
        second = await trio.run_process(command(traded, NOW_MS), capture_stderr=True, check=False)
        assert second.returncode == 1
        assert f"process {running.process.pid} is already running" in second.stderr.decode()
        await running.ready()


# --- runs that are killed --------------------------------------------------------------------


async def wait_for_fast_forward(running: RunningProcess) -> None:
    before = head_seq(running.data_dir)
    while head_seq(running.data_dir) < before + 400:  # noqa: ASYNC110 - another process's rows
        await trio.sleep(0.005)


async def wait_for_second_run(running: RunningProcess) -> None:
    while len(run_table(running.data_dir)) < 2:  # noqa: ASYNC110 - another process's rows
        await trio.sleep(0.002)


async def wait_until_ready(running: RunningProcess) -> None:
    await running.ready()


@pytest.mark.parametrize("moment", [wait_for_fast_forward, wait_for_second_run, wait_until_ready])
async def test_the_run_after_a_kill_has_the_same_book_and_no_duplicate(
    tmp_path: Path, moment: Callable[[RunningProcess], Any]
) -> None:
    data_dir = DataDirectory(tmp_path / "data")
    async with start_run(data_dir, days=3) as running:
        await moment(running)
        assert await running.stop_with(signal.SIGKILL) == -signal.SIGKILL
    before = journal(data_dir)
    assert run_table(data_dir)[-1][1] is None, "a killed run journals no end"

    # One cycle later, because the same cycle closed twice would leave no trace.
    async with start_run(data_dir, NOW_MS + 6 * MINUTE_MS, days=3) as running:
        await running.ready()
        assert await running.stop_with(signal.SIGTERM) == 0
    after = journal(data_dir)
    assert after[: len(before)] == before
    again = after[len(before) :]
    assert type(again[0]) is RunStarted
    assert min(e.at_ms for e in again) >= before[-1].at_ms, "no time is simulated twice"
    permits = [i for i, e in enumerate(again) if type(e) is PermitGranted]
    reconciled = next(i for i, e in enumerate(again) if type(e) is EquityRecorded)
    assert not permits or reconciled < permits[0], "the run reconciles before it trades"
    assert len(of_kind(after, TradeClosed)) >= len(of_kind(before, TradeClosed))
    assert_same_book(data_dir)


# --- runs that hang --------------------------------------------------------------------------


async def test_a_flatten_closes_the_positions_of_a_hung_run_which_stays_flat_when_it_wakes(
    traded: DataDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = len(venue(traded).positions)
    assert held
    async with start_run(traded, NOW_MS + MINUTE_MS) as running:
        await running.ready()
        running.process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(operator, "DEADLINE_S", 0.3)
        clock = SetClock(NOW_MS + 2 * MINUTE_MS)
        monkeypatch.setattr(flatten, "SystemClock", lambda: clock)
        configuration = str(traded.path.with_name("kamou.toml"))
        arguments = ["--config", configuration, "--data-dir", str(traded.path), "--json"]

        def kill() -> int:
            with pytest.raises(SystemExit) as ended:
                main(["flatten", *arguments, "--reason", "it hangs"])
            return int(ended.value.code or 0)

        assert await trio.to_thread.run_sync(kill) == 0
        done = json.loads(capsys.readouterr().out)
        assert (done["by"], done["positions_closed"], done["positions_left"]) == (
            "flatten",
            held,
            0,
        )
        assert not venue(traded).positions

        running.process.send_signal(signal.SIGCONT)
        while (await running.ask("/api/v1/status")).json()["gauges"]["open_positions"]:  # noqa: ASYNC110 - over HTTP
            await trio.sleep(0.05)
        assert await running.stop_with(signal.SIGTERM) == 0
    assert_same_book(traded)
    assert not folded(journal(traded)).trades.open

    async with start_run(traded, NOW_MS + 3 * MINUTE_MS) as running:
        await running.ready()
        assert (await running.ask("/api/v1/status")).json()["state"] == "flattening"
    assert_same_book(traded)
