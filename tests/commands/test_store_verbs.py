"""``kamou db`` and ``kamou data``: backup, migration, import and list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.lock import DataDirectoryLock
from kamou.store import database
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]


def test_backup_and_migrate_need_a_database(cli: Cli) -> None:
    assert cli("db", "migrate")[0] == 3
    assert cli("db", "backup", "copy")[0] == 3


def test_a_backup_has_as_many_events_as_the_journal(
    cli: Cli, journalled: DataDirectory, tmp_path: Path
) -> None:
    code, out, _ = cli("db", "backup", "copy.sqlite3")
    assert code == 0
    assert "wrote copy.sqlite3" in out
    with database.open_reader(tmp_path / "copy.sqlite3") as copy:
        assert copy.execute("SELECT count(*) FROM event").fetchone()[0] == len(
            story.opening_events()
        )
    copy.close()
    assert json.loads(cli("db", "backup", "other", "--json")[1])["bytes"] > 0


def test_migrating_a_current_database_does_nothing(cli: Cli, journalled: DataDirectory) -> None:
    assert cli("db", "migrate") == (0, "nothing to do\n", "")
    assert json.loads(cli("db", "migrate", "--json")[1]) == {"applied": []}


def test_a_migration_fails_during_a_run(cli: Cli, journalled: DataDirectory) -> None:
    with DataDirectoryLock(journalled.path):
        assert cli("db", "migrate")[0] == 1


def write_bars(directory: Path, close: str = "1.5") -> Path:
    directory.mkdir()
    day_ms = 86_400_000
    rows = [
        f"AUSDT,{n * day_ms + 1_600_041_600_000 // day_ms * day_ms},1,2,1,{close},10"
        for n in range(40)
    ]
    (directory / "bars.csv").write_text("\n".join(["symbol,ts,open,high,low,close,volume", *rows]))
    return directory


def test_an_imported_dataset_is_listed_and_not_imported_twice(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "kamou-data").mkdir(mode=0o700)
    assert "no dataset is stored yet" in cli("data", "list")[1]
    code, out, _ = cli("data", "import", write_bars(tmp_path / "days"))
    assert code == 0, out
    assert "days" in cli("data", "list")[1]
    [stored] = json.loads(cli("data", "list", "--json")[1])["sets"]
    assert (stored["name"], stored["symbols"], stored["bars"]) == ("days", 1, 40)
    again = cli("data", "import", tmp_path / "days", "--json")
    assert json.loads(again[1])["unchanged"] is True
    assert "already stored" in cli("data", "import", tmp_path / "days")[1]


def test_invalid_data_is_an_error_and_is_not_stored(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("data", "import", write_bars(tmp_path / "bad", close="nan"))
    assert code == 1
    assert "AUSDT" in err
    assert cli("data", "list")[0] == 3, "no data directory was created"
    (tmp_path / "kamou-data").mkdir(mode=0o700)
    assert json.loads(cli("data", "list", "--json")[1]) == {"sets": [], "damaged": []}


def test_an_import_names_its_gaps_and_the_files_that_it_left_out(cli: Cli, tmp_path: Path) -> None:
    directory = write_bars(tmp_path / "gapped")
    file = directory / "bars.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:10] + lines[12:]))
    (directory / "other.csv").write_text("a,b\n1,2\n")
    assert cli("data", "import", directory)[0] == 1
    code, out, err = cli("data", "import", directory, "--allow-gaps")
    assert code == 0
    assert "gap in gapped: AUSDT lacks 2 bars from 2020-09-23" in out
    assert "left out other.csv" in err


def test_a_failed_import_creates_no_data_directory(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bad = write_bars(tmp_path / "bad", close="nan")
    for source in (tmp_path / "empty", bad):
        code, _, _ = cli("data", "import", source, "--name", "a1", "--data-dir", tmp_path / "typo")
        assert code == 1
        assert not (tmp_path / "typo").exists()
    good = write_bars(tmp_path / "good")
    assert cli("data", "import", good, "--data-dir", tmp_path / "typo")[0] == 0
    assert (tmp_path / "typo").stat().st_mode & 0o777 == 0o700


def test_a_failed_import_leaves_an_existing_data_directory_unchanged(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    bad = write_bars(tmp_path / "bad", close="nan")
    assert cli("data", "import", bad, "--data-dir", tmp_path / "there")[0] == 1
    assert list((tmp_path / "there").iterdir()) == []


def test_the_list_of_a_missing_data_directory_names_the_directory(cli: Cli, tmp_path: Path) -> None:
    missing = tmp_path / "typo"
    code, out, err = cli("data", "list", "--data-dir", missing)
    assert (code, out) == (3, "")
    assert f"the data directory {missing} does not exist" in err
    assert not missing.exists()
    missing.mkdir()
    assert "does not exist" not in cli("data", "list", "--data-dir", missing)[1]
