"""Datasets of another data directory, whose ``meta.json`` verbs check against the files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kamou.store.importer import import_directory
from tests.store.market_files import END_MS, HOUR_MS, bar_rows, write_csv, write_valid_files

Cli = Callable[..., tuple[int, str, str]]


def make_foreign_dataset(directory: Path) -> Path:
    """Return the directory of a dataset that was imported into another data directory."""
    made = import_directory(
        write_valid_files(directory / "files"), directory / "theirs", now_ms=END_MS
    )
    return made.summary.path


def rewrite_meta(directory: Path, **changes: object) -> None:
    path = directory / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"period_ms": 0}, "$.period_ms"),
        ({"period_ms": True}, "$.period_ms"),
        ({"last_ms": END_MS + HOUR_MS}, "differs from the files in last_ms"),
        ({"symbols": ["\x1b]0;x\x07"]}, "cannot be a symbol"),
    ],
)
def test_a_dataset_with_a_wrong_meta_json_fails_every_verb_that_reads_it_with_one_line(
    cli: Cli, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    directory = make_foreign_dataset(tmp_path)
    rewrite_meta(directory, **changes)
    for verb in (
        ("data", "import", directory, "--name", "bad"),
        ("backtest", "--data", directory),
        ("run", "--replay", directory, "--port", 0, "--operator-port", 0),
    ):
        code, _, err = cli(*verb)
        assert code == 1, (verb, err)
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert message in line
        assert "Traceback" not in err
        assert "\x1b" not in err
    assert not list((tmp_path / "kamou-data").glob("market/*"))


def test_a_backtest_of_a_dataset_of_another_store_equals_one_of_its_import(
    cli: Cli, tmp_path: Path
) -> None:
    directory = make_foreign_dataset(tmp_path)
    assert cli("data", "import", directory, "--name", "ours")[0] == 0
    digests = set()
    for data in (directory, "ours"):
        code, out, err = cli("backtest", "--data", data, "--json", "-")
        assert code == 0, err
        digests.add(json.loads(out)["digest"])
    assert len(digests) == 1


def test_the_error_for_a_data_limit_names_its_setting_which_can_be_raised(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_valid_files(tmp_path / "good")
    monkeypatch.setenv("KAMOU__DATA__ROWS_MAX", "100")
    for verb in (
        ("data", "import", good),
        ("backtest", "--data", good),
        ("run", "--replay", good, "--port", 0, "--operator-port", 0),
    ):
        code, _, err = cli(*verb)
        assert code == 1
        assert "error: bars_1h.parquet: the files read so far have more than 100 rows" in err
        assert "data.rows_max" in err
    monkeypatch.setenv("KAMOU__DATA__ROWS_MAX", "1000")
    assert cli("data", "import", good)[0] == 0


def test_damaged_datasets_do_not_hide_the_others_in_the_list(cli: Cli, tmp_path: Path) -> None:
    assert cli("data", "import", write_valid_files(tmp_path / "good"))[0] == 0
    market = tmp_path / "kamou-data" / "market"
    shutil.copytree(market / "good", market / "zero")
    rewrite_meta(market / "zero", period_ms=0)
    shutil.copytree(market / "good", market / "pipe")
    (market / "pipe" / "meta.json").unlink()
    os.mkfifo(market / "pipe" / "meta.json")
    (market / "odd\nerror: \x1b[31m").mkdir()
    code, out, err = cli("data", "list")
    assert code == 0
    assert "good" in out
    lines = err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [r"odd\nerror", "pipe", "zero"]
    assert all(line.isprintable() and line.startswith("damaged: ") for line in lines)
    code, out, _ = cli("data", "list", "--json")
    listed = json.loads(out)
    assert [each["name"] for each in listed["sets"]] == ["good"]
    assert len(listed["damaged"]) == 3


def test_a_list_of_only_damaged_datasets_is_not_called_empty(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "kamou-data" / "market" / "bare").mkdir(parents=True)
    code, out, err = cli("data", "list")
    assert (code, out) == (0, "")
    assert err.startswith("damaged: bare: ")


def test_a_backtest_runs_with_prices_near_the_smallest_and_largest_allowed(
    cli: Cli, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    for name, base in (("small", 2e-9), ("large", 4e11)):
        rows = bar_rows(("BTCUSDT", "ETHUSDT"), bars=200)
        for row, factor in zip(rows, np.exp(0.01 * rng.standard_normal(400)), strict=True):
            row["open"] = row["low"] = base * float(factor)
            row["close"] = row["high"] = row["low"] * 1.01
        write_csv(tmp_path / name / "c.csv", rows)
        code, _, err = cli("backtest", "--data", tmp_path / name, "--json", "report.json")
        assert code == 0, err
