"""Tests of the lines about crashes: the place once, then the number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kamou.clock import floor_ms
from kamou.runs.crash_lines import CrashLines, find_place, format_ordinal
from kamou.runtime.leveled_lines import Level, find_level
from kamou.runtime.supervision import ChildExit, ExitKind

HERE = f"runs/{Path(__file__).name}"


def make_exit(error: Exception | None, kind: ExitKind = ExitKind.CRASHED) -> ChildExit:
    return ChildExit(supervisor="shards", child="scanner-3", incarnation=1, kind=kind, error=error)


def raise_and_catch(error: Exception, cause: Exception | None = None) -> Exception:
    """Return the error after it was raised, from its cause if it has one."""
    with pytest.raises(type(error)) as found:  # noqa: PT012 - two ways to raise
        if cause is not None:
            raise error from cause
        raise error
    return found.value


def line_number(text: str) -> int:
    """Return the number of the first line of this file with this text."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.strip() == text)


def test_the_first_crash_is_announced_with_its_place_and_later_ones_with_their_number() -> None:
    said: list[str] = []
    crashes = CrashLines(said.append)
    for _ in range(4):
        crashes.announce_exit(make_exit(raise_and_catch(ValueError("bad bar"))))
    place = f"{HERE}:{line_number('raise error')}"
    assert said == [
        f"shards/scanner-3 crashed: ValueError('bad bar'), at {place}",
        "shards/scanner-3 crashed again (2nd time)",
        "shards/scanner-3 crashed again (3rd time)",
        "shards/scanner-3 crashed again (4th time)",
    ]
    assert [find_level(line) for line in said] == [Level.ERROR] + 3 * [Level.WARNING]


def test_another_error_of_a_child_has_its_own_place_and_is_counted_with_the_others() -> None:
    said: list[str] = []
    crashes = CrashLines(said.append)
    crashes.announce_exit(make_exit(raise_and_catch(ValueError("a"))))
    crashes.announce_exit(make_exit(raise_and_catch(KeyError("b"))))
    assert said[1].startswith("shards/scanner-3 crashed (2nd time): KeyError('b'), at runs/")


def test_normal_exits_are_not_announced_and_a_child_that_does_not_stop_is() -> None:
    said: list[str] = []
    crashes = CrashLines(said.append)
    for kind in (ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.STUCK):
        crashes.announce_exit(make_exit(None, kind))
    assert said == [
        "shards/scanner-3 was asked to stop and still runs; kill the process if it does not end"
    ]


def test_an_error_raised_from_another_is_placed_where_the_first_was_raised() -> None:
    with pytest.raises(ZeroDivisionError) as found:
        floor_ms(1, 0)
    first = found.value
    assert find_place(first).startswith("kamou/clock.py:")
    assert find_place(raise_and_catch(RuntimeError("shard 3"), first)) == find_place(first)


def test_an_error_inside_a_library_is_placed_at_the_line_that_called_it() -> None:
    with pytest.raises(ValueError, match="Expecting") as found:
        json.loads("nonsense")
    assert find_place(found.value).startswith(HERE)
    assert find_place(None) == "an unknown place"


def test_ordinals_are_english() -> None:
    shown = [format_ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112, 122)]
    assert shown == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd"]
