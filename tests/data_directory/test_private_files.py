"""Tests of the modes and owners of Kamou's files and directories."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kamou.data_directory import private_files
from kamou.data_directory.folder import DataDirectory, _is_database, write_atomically
from kamou.data_directory.latch import HaltLatch
from kamou.data_directory.lock import DataDirectoryLock, lock_holder
from kamou.data_directory.private_files import (
    create_directory,
    create_file,
    create_temporary,
    keeps_modes,
)
from kamou.errors import AlreadyRunningError, KamouError, StoreError
from kamou.operator.token import new_token
from kamou.runs.flatten import FlattenLog
from kamou.runs.session import salt_key
from kamou.store import database
from kamou.venue.store import VenueStore

OTHER_USER = 12_345  # a user id without files here


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_new_files_of_a_data_directory_have_mode_0600_with_umask_000_022_or_077(
    tmp_path: Path, umask: int
) -> None:
    data_dir = DataDirectory(tmp_path / "made" / "data")
    with DataDirectoryLock(data_dir.path):
        database.migrate_journal(data_dir.database)
        with (
            closing(database.open_writer(data_dir.database)) as writer,
            closing(VenueStore(data_dir.exchange)) as venue,
        ):
            writer.execute("INSERT INTO meta VALUES ('key', 'value')")
            venue.put_meta("key", "value")
            new_token(data_dir.token)
            salt_key(data_dir.salt_key)
            HaltLatch(data_dir.latch).set("storm", "operator", 1)
            FlattenLog(path=data_dir.flatten_log).add_note("done")
            database.copy_journal(data_dir.database, data_dir.path / "backup.sqlite3")
            made = {path.name: mode(path) for path in data_dir.path.iterdir()}
    assert {"kamou.sqlite3-wal", "exchange.sqlite3-shm", "backup.sqlite3", "lock"} <= set(made)
    assert set(made.values()) == {0o600}
    assert mode(data_dir.path) == mode(data_dir.path.parent) == 0o700


def test_a_umask_of_0777_does_not_change_the_modes(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        create_file(tmp_path / "a")
        create_directory(tmp_path / "b" / "c")
        write_atomically(tmp_path / "d", "text")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "d") == 0o600
    assert mode(tmp_path / "b") == mode(tmp_path / "b" / "c") == 0o700


def test_a_temporary_file_has_a_random_name(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        descriptor, path = create_temporary(tmp_path / "report.json")
        os.close(descriptor)
        names.add(path.name)
    assert len(names) == 3
    assert all(name.startswith("report.json.") for name in names)


def test_a_failed_write_leaves_the_old_text_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "a", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_an_existing_file_is_not_created_again(tmp_path: Path) -> None:
    assert create_file(tmp_path / "a")
    (tmp_path / "a").write_text("kept")
    assert not create_file(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "kept"
    assert not create_directory(tmp_path)


# --- a data directory that is open to others ------------------------------------------------


@pytest.fixture
def exposed(tmp_path: Path) -> DataDirectory:
    """Return a data directory of mode 0755 whose files have mode 0644."""
    data_dir = DataDirectory(tmp_path / "data")
    data_dir.create()
    database.migrate_journal(data_dir.database)
    for path in (data_dir.lock, data_dir.run_record):
        path.touch()
        path.chmod(0o644)
    data_dir.database.chmod(0o644)
    data_dir.path.chmod(0o755)
    return data_dir


def test_a_data_directory_open_to_others_is_closed_and_that_is_announced(
    exposed: DataDirectory,
) -> None:
    said: list[str] = []
    (exposed.path / "kamou.toml").touch()  # a file of the operator
    (exposed.path / "kamou.toml").chmod(0o644)
    exposed.create(said.append)
    assert mode(exposed.path) == 0o700
    assert mode(exposed.database) == mode(exposed.lock) == mode(exposed.run_record) == 0o600
    assert mode(exposed.path / "kamou.toml") == 0o644, "the operator's files are not changed"
    assert len(said) == 2
    assert "closed the data directory" in said[0]
    assert "0755 to 0700" in said[0]
    assert "kamou.sqlite3, lock, run.json" in said[1]
    exposed.create(said.append)
    assert len(said) == 2, "the second call changes nothing"


def test_an_empty_directory_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    data_dir = DataDirectory(tmp_path / "data")
    data_dir.path.mkdir()
    data_dir.path.chmod(0o755)
    data_dir.create()
    assert mode(data_dir.path) == 0o700


def test_an_open_directory_with_other_files_is_an_error_and_is_not_changed(tmp_path: Path) -> None:
    data_dir = DataDirectory(tmp_path / "home")
    data_dir.path.mkdir()
    (data_dir.path / "letters").touch()
    data_dir.path.chmod(0o755)
    with pytest.raises(StoreError, match="holds files that are not Kamou's"):
        DataDirectoryLock(data_dir.path).acquire()
    assert mode(data_dir.path) == 0o755
    assert [path.name for path in data_dir.path.iterdir()] == ["letters"]


def test_an_open_directory_with_other_files_and_a_text_file_as_database_is_an_error(
    tmp_path: Path,
) -> None:
    data_dir = DataDirectory(tmp_path / "home")
    data_dir.path.mkdir()
    (data_dir.path / "letters").touch()
    data_dir.database.write_text("no database")
    data_dir.path.chmod(0o755)
    with pytest.raises(StoreError, match="not Kamou's"):
        data_dir.create()


def test_an_open_directory_whose_database_has_its_schema_in_the_write_ahead_log_is_closed(
    tmp_path: Path,
) -> None:
    """The database's file has its first page only, and the ``-wal`` has every table."""
    data_dir = DataDirectory(tmp_path / "data")
    made, killed = DataDirectory(tmp_path / "made"), data_dir.database
    made.create()
    data_dir.path.mkdir()
    with closing(database.open_writer(made.database)):
        for suffix in ("", "-wal"):
            source = made.database.with_name(made.database.name + suffix)
            shutil.copy(source, killed.with_name(killed.name + suffix))
    (data_dir.path / "kamou.toml").touch()  # a file of the operator
    data_dir.path.chmod(0o755)
    data_dir.create()
    assert mode(data_dir.path) == 0o700


@pytest.mark.parametrize("text", ["", "no database"])
def test_an_empty_or_text_file_is_not_recognized_as_a_database(tmp_path: Path, text: str) -> None:
    (tmp_path / "kamou.sqlite3").write_text(text)
    assert not _is_database(tmp_path / "kamou.sqlite3")


def test_a_database_that_sqlite_cannot_open_is_not_recognized(tmp_path: Path) -> None:
    """SQLite raises the same error for a file that this user may not read."""
    assert not _is_database(tmp_path / "kamou.sqlite3")


def test_a_directory_with_the_sticky_bit_is_an_error_and_is_not_changed(
    exposed: DataDirectory,
) -> None:
    exposed.path.chmod(0o1777)
    with pytest.raises(StoreError, match="mode 1777"):
        exposed.create()
    assert mode(exposed.path) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("given", ["", "kamou.sqlite3", "lock"])
def test_a_file_or_directory_of_another_user_is_an_error(
    exposed: DataDirectory, given: str
) -> None:
    os.chown(exposed.path / given, OTHER_USER, OTHER_USER)
    with pytest.raises(StoreError, match=f"belongs to user {OTHER_USER}"):
        DataDirectoryLock(exposed.path).acquire()
    assert mode(exposed.database) == 0o644


def test_a_file_system_without_modes_is_announced(
    exposed: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
    said: list[str] = []
    exposed.create(said.append)
    assert len(said) == 1
    assert "keeps no modes" in said[0]


# --- the salt key and the lock ------------------------------------------------------------


def test_a_salt_key_open_to_others_is_an_error_for_a_run_and_a_warning_for_flatten(
    tmp_path: Path,
) -> None:
    path = tmp_path / "salt-key"
    key = salt_key(path)
    path.chmod(0o640)
    with pytest.raises(StoreError, match="other users may read"):
        salt_key(path)
    said: list[str] = []
    assert salt_key(path, on_exposed=said.append) == key
    assert len(said) == 1
    DataDirectory(tmp_path).create()
    assert mode(path) == 0o640, "its mode stays, because others may have read it"


def test_a_salt_key_on_a_file_system_without_modes_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = salt_key(tmp_path / "salt-key")
    assert keeps_modes(tmp_path)
    monkeypatch.setattr(private_files, "is_open_to_others", lambda path: True)
    assert not keeps_modes(tmp_path)
    (tmp_path / "salt-key").chmod(0o644)
    assert salt_key(tmp_path / "salt-key") == key


def test_a_lock_file_that_is_a_symbolic_link_is_an_error_and_is_not_followed(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").write_text("a file of another program")
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot write to the data directory"):
        DataDirectoryLock(tmp_path).acquire()
    assert (tmp_path / "elsewhere").read_text() == "a file of another program"


def test_a_lock_file_that_this_user_may_not_open_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(KamouError, match="run this as the user of the run"):
        lock_holder(tmp_path)


def test_a_lock_that_is_busy_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real, asked = fcntl.flock, []

    def busy_once(descriptor: int, how: int) -> None:
        asked.append(how)
        if len(asked) == 1:
            raise BlockingIOError
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", busy_once)
    with DataDirectoryLock(tmp_path):
        assert len(asked) == 2


def test_a_held_lock_of_this_user_is_reported_as_a_run(tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path), pytest.raises(AlreadyRunningError, match="already running"):
        DataDirectoryLock(tmp_path).acquire()
