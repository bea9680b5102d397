"""What Kamou writes is its owner's alone: modes, owners, and folders that are not ours."""

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

STRANGER = 12_345  # a user id that owns nothing here


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_every_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    folder = DataDirectory(tmp_path / "made" / "data")
    with DataDirectoryLock(folder.path):
        database.migrate_journal(folder.database)
        with (
            closing(database.open_writer(folder.database)) as writer,
            closing(VenueStore(folder.exchange)) as venue,
        ):
            writer.execute("INSERT INTO meta VALUES ('key', 'value')")
            venue.put_meta("key", "value")
            new_token(folder.token)
            salt_key(folder.salt_key)
            HaltLatch(folder.latch).set("storm", "operator", 1)
            FlattenLog(path=folder.flatten_log).add_note("done")
            database.copy_journal(folder.database, folder.path / "backup.sqlite3")
            made = {path.name: mode(path) for path in folder.path.iterdir()}
    assert {"kamou.sqlite3-wal", "exchange.sqlite3-shm", "backup.sqlite3", "lock"} <= set(made)
    assert set(made.values()) == {0o600}
    assert mode(folder.path) == mode(folder.path.parent) == 0o700


def test_a_umask_that_takes_the_owners_own_rights_is_overruled(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        create_file(tmp_path / "a")
        create_directory(tmp_path / "b" / "c")
        write_atomically(tmp_path / "d", "text")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "d") == 0o600
    assert mode(tmp_path / "b") == mode(tmp_path / "b" / "c") == 0o700


def test_a_temporary_file_has_a_name_that_nobody_can_take_before_it(tmp_path: Path) -> None:
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


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    assert create_file(tmp_path / "a")
    (tmp_path / "a").write_text("kept")
    assert not create_file(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "kept"
    assert not create_directory(tmp_path)


# --- an older, wider folder ---------------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> DataDirectory:
    """A data directory as an older version made it, under umask 022."""
    folder = DataDirectory(tmp_path / "data")
    folder.create()
    database.migrate_journal(folder.database)
    for path in (folder.lock, folder.run_record):
        path.touch()
        path.chmod(0o644)
    folder.database.chmod(0o644)
    folder.path.chmod(0o755)
    return folder


def test_an_older_wider_folder_of_ours_is_closed_and_that_is_said(older: DataDirectory) -> None:
    said: list[str] = []
    (older.path / "kamou.toml").touch()  # the operator's own file beside our database
    (older.path / "kamou.toml").chmod(0o644)
    older.create(said.append)
    assert mode(older.path) == 0o700
    assert mode(older.database) == mode(older.lock) == mode(older.run_record) == 0o600
    assert mode(older.path / "kamou.toml") == 0o644, "not ours to change"
    assert len(said) == 2
    assert "closed the data directory" in said[0]
    assert "0755 to 0700" in said[0]
    assert "kamou.sqlite3, lock, run.json" in said[1]
    older.create(said.append)
    assert len(said) == 2, "there is nothing left to say"


def test_an_empty_folder_that_somebody_made_for_us_is_closed(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "data")
    folder.path.mkdir()
    folder.path.chmod(0o755)
    folder.create()
    assert mode(folder.path) == 0o700


def test_a_wide_folder_that_is_not_ours_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "home")
    folder.path.mkdir()
    (folder.path / "letters").touch()
    folder.path.chmod(0o755)
    with pytest.raises(StoreError, match="holds files that are not Kamou's"):
        DataDirectoryLock(folder.path).acquire()
    assert mode(folder.path) == 0o755
    assert [path.name for path in folder.path.iterdir()] == ["letters"]


def test_a_file_that_only_has_the_name_of_our_database_makes_no_folder_ours(
    tmp_path: Path,
) -> None:
    folder = DataDirectory(tmp_path / "home")
    folder.path.mkdir()
    (folder.path / "letters").touch()
    folder.database.write_text("no database")
    folder.path.chmod(0o755)
    with pytest.raises(StoreError, match="not Kamou's"):
        folder.create()


def test_a_folder_is_ours_though_a_kill_left_the_schema_in_the_log(tmp_path: Path) -> None:
    """The database file has its first page only: every table is in the ``-wal``."""
    folder = DataDirectory(tmp_path / "data")
    made, killed = DataDirectory(tmp_path / "made"), folder.database
    made.create()
    folder.path.mkdir()
    with closing(database.open_writer(made.database)):
        for suffix in ("", "-wal"):
            source = made.database.with_name(made.database.name + suffix)
            shutil.copy(source, killed.with_name(killed.name + suffix))
    (folder.path / "kamou.toml").touch()  # the operator's own
    folder.path.chmod(0o755)
    folder.create()
    assert mode(folder.path) == 0o700


@pytest.mark.parametrize("text", ["", "no database"])
def test_a_file_that_begins_no_database_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "kamou.sqlite3").write_text(text)
    assert not _is_database(tmp_path / "kamou.sqlite3")


def test_a_database_that_cannot_be_opened_is_none_of_ours(tmp_path: Path) -> None:
    """SQLite raises the same error for a file that this user may not read."""
    assert not _is_database(tmp_path / "kamou.sqlite3")


def test_a_sticky_folder_is_never_closed_to_its_other_users(older: DataDirectory) -> None:
    older.path.chmod(0o1777)
    with pytest.raises(StoreError, match="mode 1777"):
        older.create()
    assert mode(older.path) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("given", ["", "kamou.sqlite3", "lock"])
def test_what_belongs_to_another_user_is_refused(older: DataDirectory, given: str) -> None:
    os.chown(older.path / given, STRANGER, STRANGER)
    with pytest.raises(StoreError, match=f"belongs to user {STRANGER}"):
        DataDirectoryLock(older.path).acquire()
    assert mode(older.database) == 0o644


def test_a_file_system_that_keeps_no_modes_is_said(
    older: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
    said: list[str] = []
    older.create(said.append)
    assert len(said) == 1
    assert "keeps no modes" in said[0]


# --- the salt key and the lock ------------------------------------------------------------


def test_a_salt_key_that_others_may_read_is_refused_and_flatten_warns(tmp_path: Path) -> None:
    path = tmp_path / "salt-key"
    key = salt_key(path)
    path.chmod(0o640)
    with pytest.raises(StoreError, match="other users may read"):
        salt_key(path)
    said: list[str] = []
    assert salt_key(path, on_exposed=said.append) == key
    assert len(said) == 1
    DataDirectory(tmp_path).create()
    assert mode(path) == 0o640, "it is not closed in silence: others may have read it"


def test_where_no_modes_are_kept_the_salt_key_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = salt_key(tmp_path / "salt-key")
    assert keeps_modes(tmp_path)
    monkeypatch.setattr(private_files, "is_open_to_others", lambda path: True)
    assert not keeps_modes(tmp_path)
    (tmp_path / "salt-key").chmod(0o644)
    assert salt_key(tmp_path / "salt-key") == key


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("somebody's file")
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot write to the data directory"):
        DataDirectoryLock(tmp_path).acquire()
    assert (tmp_path / "elsewhere").read_text() == "somebody's file"


def test_a_lock_that_this_user_may_not_look_at_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(KamouError, match="run this as the user of the run"):
        lock_holder(tmp_path)


def test_a_look_at_the_lock_refuses_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_held_lock_of_this_user_is_a_run(tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path), pytest.raises(AlreadyRunningError, match="already running"):
        DataDirectoryLock(tmp_path).acquire()
