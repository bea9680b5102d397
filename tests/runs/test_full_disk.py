"""Tests of halts and flattens of a run whose disk is full."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from kamou.cli import main
from kamou.commands.operator import OperatorClient
from kamou.commands.status_sources import empty_status
from kamou.commands.status_text import full_lines
from kamou.core.book.position_book import PositionBook
from kamou.core.day import MINUTE_MS
from kamou.core.model import TradingState
from kamou.data_directory.folder import DataDirectory
from kamou.runs import flatten
from kamou.runs.operator_actions import CurrentRun
from kamou.runtime.supervision import SupervisorSpec
from kamou.supervisor import Supervisor
from tests.full_disk import fill, free, small_disk
from tests.small_demo import NOW_MS, SetClock, folded, journal, serving, settings, venue

MARGIN_BYTES = 64 * 1024 * 1024  # what a run writes before the test fills the disk


@pytest.fixture
def on_small_disk(tmp_path: Path, traded: DataDirectory) -> Iterator[DataDirectory]:
    with small_disk(tmp_path / "disk", MARGIN_BYTES) as disk:
        data_dir = DataDirectory(shutil.copytree(traded.path, disk / "data"))
        data_dir.path.chmod(0o700)
        yield data_dir


async def test_a_halt_on_a_full_disk_blocks_entries_at_once_and_is_journalled_later(
    on_small_disk: DataDirectory,
) -> None:
    of, disk = settings(on_small_disk.path), on_small_disk.path.parent
    async with serving(of, now_ms=NOW_MS + MINUTE_MS) as running:
        await running.ready()
        fill(disk, 0)
        told = (await running.command("halt")).json()
        assert told["journalled"] is (told["state"] == "reduce_only")
        assert not told["journalled"], "the disk has no space for the event"
        assert told["entries"] == "held"
        status = await running.status()
        assert (status["disk_full"], status["held"]) == (True, True)
        ready = await running.get("/readyz", operator=True)
        assert ready.status_code == 503
        assert any("disk is full" in reason for reason in ready.json()["reasons"])
        assert any("the disk is full" in line for line in running.said)
        free(disk)
        while (await running.status())["state"] != "reduce_only":  # noqa: ASYNC110 - over HTTP
            await trio.sleep(0.05)
        assert any("space again" in line for line in running.said)
        assert (await running.status())["held"] is False
    assert folded(journal(on_small_disk)).trading.state is TradingState.REDUCE_ONLY


def test_kamou_halt_exits_with_6_while_the_halt_is_not_journalled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Full:
        def command(self, verb: str, reason: str) -> dict[str, object]:
            return {"state": "active", "journalled": False, "entries": "held"}

    monkeypatch.setattr(OperatorClient, "find", staticmethod(lambda data_dir: Full()))
    with pytest.raises(SystemExit) as exited:
        main(["halt", "--data-dir", str(tmp_path), "--json"])
    out, err = capsys.readouterr()
    assert exited.value.code == 6
    assert json.loads(out)["entries"] == "held"
    assert "not journalled yet" in err


async def test_status_names_a_full_disk_and_held_entries_first() -> None:
    full: Any = CurrentRun(disk_full=True, entries_held=True)
    full.follower = SimpleNamespace(catch_up=PositionBook)
    full.supervisor = Supervisor(SupervisorSpec(id="kamou", children=()))
    reasons = full.not_ready()[:2]
    assert reasons[0].startswith("the disk is full")
    assert reasons[1].startswith("entries are held")
    seen = empty_status(None, gone=False) | {"running": True, "system": {"not_ready": reasons}}
    assert full_lines(seen, 200)[2:4] == [f"! {reason}" for reason in reasons]


async def test_a_flatten_during_a_run_on_a_full_disk_counts_the_positions_in_the_venues_file(
    on_small_disk: DataDirectory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    of, disk = settings(on_small_disk.path), on_small_disk.path.parent
    monkeypatch.setattr(flatten, "SystemClock", lambda: SetClock(NOW_MS + 2 * MINUTE_MS))

    def flatten_now() -> tuple[int, dict[str, object]]:
        with pytest.raises(SystemExit) as exited:
            main(["flatten", "--json", "--data-dir", str(on_small_disk.path)])
        return int(exited.value.code or 0), json.loads(capsys.readouterr().out)

    async with serving(of, now_ms=NOW_MS + MINUTE_MS) as running:
        await running.ready()
        held = len(venue(on_small_disk).positions)
        assert held
        fill(disk, 0)
        code, told = await trio.to_thread.run_sync(flatten_now)
        assert (code, told["positions_left"]) == (6, held)
        assert told["latch"] == "set", "an empty latch file blocks entries"
        free(disk)
        code, told = await trio.to_thread.run_sync(flatten_now)
        assert (code, told["positions_left"]) == (0, 0)
    assert not venue(on_small_disk).positions
