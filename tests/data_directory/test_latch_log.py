"""Tests of the halt latch's log: damaged, cut short or behind the latch's file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kamou.data_directory.latch import (
    HaltLatch,
    LatchAction,
    asks_to_flatten,
    standing_records,
)
from kamou.errors import StoreError

NOW_MS = 1_790_000_000_000


@pytest.fixture
def latch(tmp_path: Path) -> HaltLatch:
    return HaltLatch(tmp_path / "halt-latch")


def add(latch: HaltLatch, text: bytes) -> None:
    with latch.log_path.open("ab") as log:
        log.write(text)


def actions(latch: HaltLatch) -> list[str]:
    return [record.action for record in latch.log()]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"action": "ho\xff\xfe\n',
        b'{"action": "hold", "reason": "", "actor": "o", "at_ms": 1}\n',
        b'{"action": ["set"], "reason": "", "actor": "o", "at_ms": 1}\n',
        b'{"action": "set", "reason": "", "actor": "o", "at_ms": "soon"}\n',
        b'{"action": "set", "reason": "", "actor": "o", "at_ms": 1e400}\n',
        b"[1]\n",
        b"\0\0\0\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_line_is_unreadable_and_the_others_are_read(
    latch: HaltLatch, damage: bytes
) -> None:
    latch.set("", "operator", NOW_MS, action=LatchAction.HALT)
    latch.clear("", "operator", NOW_MS + 1)
    add(latch, damage)
    assert actions(latch) == [LatchAction.HALT, LatchAction.CLEAR, LatchAction.UNREADABLE]
    assert latch.damaged_lines() == [3]
    latch.set("", "operator", NOW_MS + 2, action=LatchAction.HALT)
    assert actions(latch) == [
        LatchAction.HALT,
        LatchAction.CLEAR,
        LatchAction.UNREADABLE,
        LatchAction.HALT,
    ]


def test_a_log_that_cannot_be_opened_is_unreadable(latch: HaltLatch) -> None:
    latch.log_path.mkdir()
    assert actions(latch) == [LatchAction.UNREADABLE]
    latch.set("news", "operator", NOW_MS, action=LatchAction.HALT)
    assert actions(latch) == [LatchAction.UNREADABLE, LatchAction.HALT], (
        "the latch's file has the record"
    )


def test_a_line_after_one_that_was_cut_short_is_read(latch: HaltLatch) -> None:
    latch.set("weeks ago", "operator", NOW_MS)
    latch.clear("", "operator", NOW_MS + 1)
    add(latch, b'{"action": "set", "rea')
    latch.set("news", "operator", NOW_MS + 2, action=LatchAction.HALT)
    text = latch.log_path.read_bytes()
    assert [line[:14] for line in text.splitlines()][2:] == [b'{"action": "se', b'{"action": "ha']
    assert actions(latch) == [
        LatchAction.SET,
        LatchAction.CLEAR,
        LatchAction.UNREADABLE,
        LatchAction.HALT,
    ]
    assert [record.reason for record in standing_records(latch.log())] == ["news"]
    assert not asks_to_flatten(latch.log())


def test_a_halt_that_could_not_be_logged_is_read_from_the_latchs_file(
    latch: HaltLatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    latch.set("weeks ago", "operator", NOW_MS)
    latch.clear("", "operator", NOW_MS + 1)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(HaltLatch, "_append", full)
        assert not latch.set("news", "operator", NOW_MS + 2, action=LatchAction.HALT)
    assert [(each.action, each.reason) for each in standing_records(latch.log())] == [
        (LatchAction.HALT, "news")
    ]


def test_a_line_of_which_half_was_written_does_not_count_as_logged(
    latch: HaltLatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
        assert not latch.set("news", "operator", NOW_MS, action=LatchAction.HALT)
        with pytest.raises(StoreError, match="cannot clear the halt latch"):
            latch.clear("", "operator", NOW_MS + 1)
    assert latch.is_set()
    assert [each.action for each in standing_records(latch.log())] == [LatchAction.HALT]


@pytest.mark.parametrize("action", [LatchAction.SET, LatchAction.HALT])
def test_a_clear_that_did_not_remove_the_latch_is_left_out_of_its_log(
    latch: HaltLatch, monkeypatch: pytest.MonkeyPatch, action: LatchAction
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "no")

    latch.set("", "operator", NOW_MS, action=action)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreError, match="cannot clear the halt latch"):
            latch.clear("", "operator", NOW_MS + 1)
    assert actions(latch) == [action]
    assert asks_to_flatten(latch.log()) is (action is LatchAction.SET)


def test_a_halt_after_a_damaged_line_does_not_repeat_an_earlier_flatten(
    latch: HaltLatch,
) -> None:
    latch.set("weeks ago", "operator", NOW_MS)
    latch.path.unlink()
    add(latch, b'{"action": "cl\xff"}\n')
    latch.set("news", "operator", NOW_MS + 2, action=LatchAction.HALT)
    assert not asks_to_flatten(latch.log())
