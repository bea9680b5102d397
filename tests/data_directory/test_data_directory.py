"""Tests of the data directory: lock, halt latch, run record and atomic writes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kamou.data_directory.folder import DataDirectory, RunRecord, write_atomically
from kamou.data_directory.latch import HaltLatch
from kamou.data_directory.lock import DataDirectoryLock, lock_holder
from kamou.errors import AlreadyRunningError, StoreError

NOW_MS = 1_700_000_000_000


def test_a_second_lock_on_a_data_directory_is_an_error_that_names_the_holders_process(
    tmp_path: Path,
) -> None:
    with DataDirectoryLock(tmp_path), pytest.raises(AlreadyRunningError) as caught:
        DataDirectoryLock(tmp_path).acquire()
    assert f"process {os.getpid()} is already running" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "--data-dir" in str(caught.value)


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    first = DataDirectoryLock(tmp_path / "made" / "data")
    with first:
        assert lock_holder(tmp_path / "made" / "data") == os.getpid()
    assert lock_holder(tmp_path / "made" / "data") is None
    first.release()
    with DataDirectoryLock(tmp_path / "made" / "data"):
        pass


def test_the_lock_file_of_a_killed_process_blocks_no_run(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from kamou.data_directory.lock import DataDirectoryLock;"
        "DataDirectoryLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert died.returncode == -9
    assert (tmp_path / "lock").read_text().strip().isdigit()
    assert lock_holder(tmp_path) is None
    with DataDirectoryLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_missing_data_directory_has_no_lock_holder(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "none") is None


def test_a_data_directory_that_cannot_be_written_is_an_error_with_the_next_step(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write to the data directory .* --data-dir"):
        DataDirectoryLock(tmp_path / "file").acquire()
    (tmp_path / "other" / "lock").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot write to the data directory"):
        DataDirectoryLock(tmp_path / "other").acquire()


def test_the_latch_is_set_until_it_is_cleared_and_each_action_is_logged(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path / "new" / "halt-latch")
    assert not latch.is_set()
    assert latch.log() == ()
    latch.set("storm", "operator", NOW_MS)
    latch.set("again", "operator", NOW_MS + 1)
    assert latch.is_set()
    assert HaltLatch(latch.path).is_set()
    latch.clear("calm", "operator", NOW_MS + 2)
    assert not latch.is_set()
    assert [(r.action, r.reason, r.at_ms - NOW_MS) for r in latch.log()] == [
        ("set", "storm", 0),
        ("set", "again", 1),
        ("clear", "calm", 2),
    ]


def test_clearing_a_latch_that_is_not_set_does_nothing(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path / "halt-latch")
    latch.clear("calm", "operator", NOW_MS)
    assert latch.log() == ()


def test_a_latch_whose_path_cannot_be_examined_counts_as_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert HaltLatch(tmp_path / "file" / "halt-latch").is_set()


def test_an_empty_latch_file_counts_as_set(tmp_path: Path) -> None:
    (tmp_path / "halt-latch").touch()
    assert HaltLatch(tmp_path / "halt-latch").is_set()


def test_a_latch_that_cannot_be_set_or_cleared_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot set the halt latch"):
        HaltLatch(tmp_path / "file" / "halt-latch").set("storm", "operator", NOW_MS)
    (tmp_path / "latch.log").mkdir()
    (tmp_path / "latch").touch()
    with pytest.raises(StoreError, match="cannot clear the halt latch"):
        HaltLatch(tmp_path / "latch").clear("calm", "operator", NOW_MS)
    assert (tmp_path / "latch").exists()


def test_the_latch_is_set_even_if_its_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "latch.log").mkdir()
    assert not HaltLatch(tmp_path / "latch").set("storm", "operator", NOW_MS), (
        "its log has the action"
    )
    assert HaltLatch(tmp_path / "latch").is_set()


def test_the_latch_is_set_on_a_disk_without_space_for_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("kamou.data_directory.latch.write_atomically", full)
    HaltLatch(tmp_path / "latch").set("storm", "operator", NOW_MS)
    assert HaltLatch(tmp_path / "latch").is_set()


def test_a_log_line_cut_short_by_a_crash_is_left_out_while_the_latch_is_set(tmp_path: Path) -> None:
    latch = HaltLatch(tmp_path / "latch")
    latch.set("storm", "operator", NOW_MS)
    with latch.log_path.open("a") as log:
        log.write('{"action": "cl')
    assert [record.action for record in latch.log()] == ["set"]


def test_a_run_record_is_read_back_as_written_and_a_missing_or_malformed_one_as_none(
    tmp_path: Path,
) -> None:
    data_dir = DataDirectory(tmp_path)
    assert RunRecord.read(data_dir) is None
    record = RunRecord(
        pid=1,
        mode="demo",
        host="127.0.0.1",
        port=8080,
        operator_host="127.0.0.1",
        operator_port=8081,
        started_at_ms=NOW_MS,
    )
    record.write(data_dir)
    assert RunRecord.read(data_dir) == record
    data_dir.run_record.write_text('{"pid": 1}')
    assert RunRecord.read(data_dir) is None


def test_an_atomic_write_replaces_the_text_and_leaves_no_other_file_behind(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "one")
    write_atomically(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_database_exchange_market_token_and_latch_have_different_names_in_a_data_directory(
    tmp_path: Path,
) -> None:
    data_dir = DataDirectory(tmp_path)
    files = (data_dir.database, data_dir.exchange, data_dir.market, data_dir.token, data_dir.latch)
    assert {file.parent for file in files} == {tmp_path}
    assert len({file.name for file in files}) == len(files)
