"""Folders that bring their own ``meta.json``: the verbs that open them believe none of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from store.market_files import END_MS, HOUR_MS, candle_rows, good_folder, write_csv

from kamou.store.importer import import_folder

Cli = Callable[..., tuple[int, str, str]]


def brought(folder: Path) -> Path:
    """A dataset that another data directory made."""
    made = import_folder(good_folder(folder / "files"), folder / "theirs", now_ms=END_MS)
    return made.summary.path


def rewrite_meta(folder: Path, **changes: object) -> None:
    path = folder / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"period_ms": 0}, "$.period_ms"),
        ({"period_ms": True}, "$.period_ms"),
        ({"last_ms": END_MS + HOUR_MS}, "does not agree with the files: last_ms"),
        ({"symbols": ["\x1b]0;x\x07"]}, "cannot be a symbol"),
    ],
)
def test_a_set_that_lies_is_refused_by_every_verb_in_one_line(
    cli: Cli, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    folder = brought(tmp_path)
    rewrite_meta(folder, **changes)
    for verb in (
        ("data", "import", folder, "--name", "bad"),
        ("backtest", "--data", folder),
        ("run", "--replay", folder, "--port", 0, "--operator-port", 0),
    ):
        code, _, err = cli(*verb)
        assert code == 1, (verb, err)
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert said in line
        assert "Traceback" not in err
        assert "\x1b" not in err
    assert not list((tmp_path / "kamou-data").glob("market/*"))


def test_a_set_from_elsewhere_that_tells_the_truth_is_traded_as_the_imported_one(
    cli: Cli, tmp_path: Path
) -> None:
    folder = brought(tmp_path)
    assert cli("data", "import", folder, "--name", "ours")[0] == 0
    digests = set()
    for data in (folder, "ours"):
        code, out, err = cli("backtest", "--data", data, "--json", "-")
        assert code == 0, err
        digests.add(json.loads(out)["digest"])
    assert len(digests) == 1


def test_a_limit_of_the_settings_is_named_and_can_be_raised(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = good_folder(tmp_path / "good")
    monkeypatch.setenv("KAMOU__DATA__ROWS_MAX", "100")
    for verb in (
        ("data", "import", good),
        ("backtest", "--data", good),
        ("run", "--replay", good, "--port", 0, "--operator-port", 0),
    ):
        code, _, err = cli(*verb)
        assert code == 1
        assert "error: candles_1h.parquet: the folder has more than 100 rows" in err
        assert "data.rows_max" in err
    monkeypatch.setenv("KAMOU__DATA__ROWS_MAX", "1000")
    assert cli("data", "import", good)[0] == 0


def test_damaged_sets_do_not_hide_the_others(cli: Cli, tmp_path: Path) -> None:
    assert cli("data", "import", good_folder(tmp_path / "good"))[0] == 0
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


def test_a_store_of_damaged_sets_alone_is_not_called_empty(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "kamou-data" / "market" / "bare").mkdir(parents=True)
    code, out, err = cli("data", "list")
    assert (code, out) == (0, "")
    assert err.startswith("damaged: bare: ")


def test_prices_at_the_ends_of_what_is_accepted_can_be_traded(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name, base in (("small", 2e-9), ("large", 4e11)):
        rows = candle_rows(("BTCUSDT", "ETHUSDT"), bars=200)
        for row, factor in zip(rows, np.exp(0.01 * rng.standard_normal(400)), strict=True):
            row["open"] = row["low"] = base * float(factor)
            row["close"] = row["high"] = row["low"] * 1.01
        write_csv(tmp_path / name / "c.csv", rows)
        code, _, err = cli("backtest", "--data", tmp_path / name, "--json", "report.json")
        assert code == 0, err
