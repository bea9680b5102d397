"""The table of files that `kamou data import --dry-run` prints."""

from __future__ import annotations

from pathlib import Path

from kamou.commands.data import group_taken
from tests.store.people_files import PLAIN, bar_lines, bars_of, write_lines
from tests.store.test_files_as_people_have_them import read


def test_the_table_of_a_dry_run_counts_the_symbols_of_its_files(tmp_path: Path) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"):
        write_lines(tmp_path / f"{symbol}.csv", [PLAIN, *bar_lines(bars_of("BTCUSDT"))])
    (row,) = group_taken(read(tmp_path).taken)
    assert row[4] == "4 symbols by their names: BTCUSDT, ETHUSDT, SOLUSDT, ..."
