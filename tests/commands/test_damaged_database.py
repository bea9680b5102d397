"""A database with overwritten pages: one error line of its readers, and no backup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kamou.commands.book import _check_once
from kamou.data_directory.folder import DataDirectory

Cli = Callable[..., tuple[int, str, str]]

PAGE = 4_096
FIRST, EVERY = 200, 7  # every seventh page after the 200th


@pytest.fixture(autouse=True)
def _clear_checked_files() -> None:
    _check_once.cache_clear()


def overwrite(path: Path, first: int = FIRST) -> None:
    body = bytearray(path.read_bytes())
    pages = range(first, len(body) // PAGE, EVERY)
    assert pages, "the database has enough pages"
    for page in pages:
        body[page * PAGE : (page + 1) * PAGE] = PAGE * b"\xa5"
    path.write_bytes(body)


@pytest.fixture
def damaged(traded: DataDirectory) -> DataDirectory:
    overwrite(traded.database)
    return traded


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("status", "--json"),
        ("why", "BTCUSDT"),
        ("report",),
        ("db", "migrate"),
        ("db", "backup", "copy.sqlite3"),
        ("run", "--port", 0, "--operator-port", 0),
        ("site", "--port", 0),
    ],
)
def test_a_verb_that_reads_a_damaged_journal_names_it_in_one_line(
    cli: Cli, damaged: DataDirectory, verb: tuple[object, ...], tmp_path: Path
) -> None:
    code, out, err = cli(*verb, "--data-dir", damaged.path)
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, len(errors)) == (1, 1), err
    assert f"{damaged.database} is damaged" in errors[0]
    assert "|" not in err, "no traceback"
    assert "wrote" not in out
    assert not (tmp_path / "copy.sqlite3").exists()


def test_a_run_fails_with_a_damaged_exchange_file(cli: Cli, traded: DataDirectory) -> None:
    overwrite(traded.exchange, first=10)
    code, _, err = cli("run", "--port", 0, "--operator-port", 0, "--data-dir", traded.path)
    assert code == 1
    assert f"error: {traded.exchange} is damaged" in err


def test_flatten_with_a_damaged_exchange_file_reports_unknown_positions(
    cli: Cli, traded: DataDirectory
) -> None:
    traded.exchange.write_bytes(100_000 * b"x")
    code, _, err = cli("flatten", "--data-dir", traded.path)
    assert code == 6
    assert "the open positions are unknown" in err
    assert f"{traded.exchange} is damaged" in err
