"""A blocked loop or a slow stop ends the process, after all stacks were written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import trio
from trio.testing import MockClock

from kamou.runtime.loop_lag import LoopLag
from kamou.runtime.watchdog import CHECKS, StopDeadline, Watchdog, end_process


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[IO[str]]:
    with (tmp_path / "stacks").open("w+") as file:
        yield file


def watched(stream: IO[str], beats: list[bool]) -> int:
    """Return the number of exits after one check for each of ``beats``; True is a beat."""
    ended: list[int] = []
    script = iter(beats)

    def wait(seconds: float) -> bool:
        assert seconds == 30 / CHECKS
        beat = next(script, None)
        if beat:
            dog.beat()
        return beat is None

    dog = Watchdog(heartbeat_s=30, stream=stream, terminate=lambda: ended.append(1), wait=wait)
    dog.watch()
    stream.seek(0)
    return len(ended)


def test_a_loop_that_beats_does_not_end_the_process(stream: IO[str]) -> None:
    assert watched(stream, [True, False, False, False] * 5) == 0
    assert stream.read() == ""


def test_a_loop_without_a_beat_for_the_whole_heartbeat_ends_the_process(stream: IO[str]) -> None:
    assert watched(stream, [True] + [False] * (CHECKS + 5)) == 1
    dump = stream.read()
    assert "blocked for 30 s" in dump
    assert "test_watchdog.py" in dump, "the stacks are there"


def test_the_line_of_a_blocked_loop_has_the_lag_of_the_minute_before(stream: IO[str]) -> None:
    lag = LoopLag()
    lag._samples.extend([(1.0, 0.002)] * 150 + [(2.0, 1.25)])
    checks = iter([False] * (CHECKS + 2))
    dog = Watchdog(
        heartbeat_s=30,
        stream=stream,
        terminate=lambda: None,
        wait=lambda seconds: next(checks, True),
        describe_lag=lag.describe,
    )
    dog.watch()
    stream.seek(0)
    assert stream.readline() == (
        "the event loop was blocked for 30 s; loop lag of the last 60 s sampled: "
        "max 1.250 s, p99 0.002 s; the process ends at once\n"
    )


def test_one_check_without_a_beat_as_after_a_pause_of_the_process_does_not_end_it(
    stream: IO[str],
) -> None:
    assert watched(stream, [True, False, True, False, True]) == 0


def test_end_process_exits_with_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    end_process()
    assert codes == [1]


async def test_the_loop_beats_and_the_watchdog_waits_for_a_quarter_of_the_heartbeat(
    stream: IO[str], autojump_clock: MockClock
) -> None:
    checks: list[float] = []
    over = threading.Event()

    def wait(seconds: float) -> bool:
        checks.append(seconds)
        return over.wait()

    dog = Watchdog(heartbeat_s=8, stream=stream, wait=wait)
    async with trio.open_nursery() as nursery:
        await nursery.start(dog.run)
        await trio.sleep(21)
        nursery.cancel_scope.cancel()
    over.set()
    for thread in threading.enumerate():
        if thread.name == "watchdog":
            thread.join()
    assert checks == [2.0]
    assert dog._beats == 11


async def test_the_thread_of_a_canceled_watchdog_ends(stream: IO[str]) -> None:
    ended: list[int] = []
    dog = Watchdog(heartbeat_s=60, stream=stream, terminate=lambda: ended.append(1))
    async with trio.open_nursery() as nursery:
        await nursery.start(dog.run)
        nursery.cancel_scope.cancel()
    for thread in threading.enumerate():
        if thread.name == "watchdog":
            thread.join(timeout=5)
            assert not thread.is_alive()
    assert ended == []


async def test_a_watchdog_that_is_not_armed_starts_no_thread(
    stream: IO[str], autojump_clock: MockClock
) -> None:
    dog = Watchdog(heartbeat_s=1, stream=stream, armed=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(dog.run)
        await trio.sleep(100)
        assert "watchdog" not in {thread.name for thread in threading.enumerate()}
        nursery.cancel_scope.cancel()
    assert dog._beats == 0


def test_a_stop_that_is_over_in_time_does_not_end_the_process(stream: IO[str]) -> None:
    ended: list[int] = []
    with StopDeadline(grace_s=600, stream=stream, terminate=lambda: ended.append(1)) as deadline:
        deadline.start()
        watching = next(t for t in threading.enumerate() if t.name == "stop deadline")
    watching.join(10)
    assert not watching.is_alive()
    assert not ended


def test_a_stop_that_takes_longer_than_its_grace_ends_the_process(stream: IO[str]) -> None:
    ended: list[int] = []
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    with StopDeadline(
        grace_s=10, stream=stream, terminate=lambda: ended.append(1), wait=wait
    ) as deadline:
        deadline.watch()
    assert (waited, ended) == ([10], [1])
    stream.seek(0)
    dump = stream.read()
    assert "not over after 10 s" in dump
    assert "test_watchdog.py" in dump, "the stacks are there"
