"""Fixtures of the command line's tests: a verb's caller, data directories and fake modules."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kamou import runs
from kamou.cli import main
from kamou.core.ranking import scan_detail
from kamou.data_directory.folder import DataDirectory
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[..., None]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs a verb: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(exited.value.code or 0), out, err

    return call


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path / "kamou-data")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def journalled(tmp_path: Path) -> DataDirectory:
    """Make a data directory with an open trade in its journal, and without a run."""
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.create()
    writer = database.open_writer(directory.database, durable=False)
    journal = JournalWriter(writer, run_number=1)
    journal.append(story.opening_events())
    detail = scan_detail.pack_details(
        ("BTCUSDT", "ETHUSDT"),
        {
            "mean_reversion": scan_detail.StrategyDetail(
                score=np.array([0.0, 0.75]), abstain=np.array([6, 0], np.uint8)
            ),
            "oi_momentum": scan_detail.StrategyDetail(
                score=np.array([0.5, 0.0]), abstain=np.array([0, 1], np.uint8)
            ),
        },
    )
    journal.append_encoded((), [(story.CYCLE_MS, detail)])
    writer.close()
    return directory


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch) -> Compose:
    """Return a function that replaces ``kamou.runs.NAME`` by a fake module."""

    def put(name: str, run: Callable[..., Any], **others: Callable[..., Any]) -> None:
        module = ModuleType(f"kamou.runs.{name}")
        vars(module).update(others, run=run)
        monkeypatch.setitem(sys.modules, f"kamou.runs.{name}", module)
        monkeypatch.setattr(runs, name, module, raising=False)

    return put
