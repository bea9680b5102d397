"""The guard ends the process with its parent, and with a page that takes too long."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from kamou.http.notices import Notices
from kamou.web import guard
from kamou.web.guard import EXIT_OUT_OF_MEMORY, EXIT_RENDER_TOO_LONG, Guard, write_line
from kamou.web.serving import report_page_failure

WITHIN_S = 30.0


class Ending:
    """Recorder of the exit codes with which the process would have ended."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.now_s = 0.0

    def guard(self, lifeline: int | None) -> Guard:
        return Guard(
            lifeline=lifeline,
            render_max_s=30.0,
            end=self.codes.append,
            seconds=lambda: self.now_s,
        )


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(os.pipe())
    yield ends
    for descriptor in ends:
        os.close(descriptor)


def watched(guard: Guard) -> threading.Thread:
    thread = threading.Thread(target=guard.watch, daemon=True)
    thread.start()
    return thread


def test_the_end_of_the_lifeline_ends_the_process_and_bytes_on_it_do_not(
    pipe: list[int],
) -> None:
    ending = Ending()
    thread = watched(ending.guard(pipe[0]))
    os.write(pipe[1], b"stray")
    assert ending.codes == []
    os.close(pipe.pop())
    thread.join(WITHIN_S)
    assert ending.codes == [0]


async def test_a_page_that_takes_too_long_ends_the_process(
    pipe: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    ending = Ending()
    guard = ending.guard(None)
    ended = watched(guard)

    def endless() -> None:
        ending.now_s += 31.0
        ended.join(WITHIN_S)

    await guard.render(endless)
    assert ending.codes == [EXIT_RENDER_TOO_LONG]
    assert "took longer than 30 s" in capfd.readouterr().err


async def test_quick_pages_are_counted_and_do_not_end_the_process(pipe: list[int]) -> None:
    ending = Ending()
    guard = ending.guard(pipe[0])
    thread = watched(guard)
    for _ in range(3):
        assert await guard.render(lambda a, b: a + b, 1, 2) == 3
        ending.now_s += 100.0
    with pytest.raises(ZeroDivisionError):
        await guard.render(lambda: 1 / 0)
    assert guard.renders == 4
    await trio.lowlevel.checkpoint()
    assert ending.codes == []
    os.close(pipe.pop())
    thread.join(WITHIN_S)


async def test_a_page_that_runs_out_of_memory_ends_the_process(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy() -> None:
        raise MemoryError

    ending = Ending()
    with pytest.raises(MemoryError):
        await ending.guard(None).render(greedy)
    assert ending.codes == [EXIT_OUT_OF_MEMORY]
    monkeypatch.setattr("kamou.web.serving.end_without_memory", lambda: ending.codes.append(7))
    report_page_failure(Notices(write_line), "/results", MemoryError())
    assert ending.codes == [EXIT_OUT_OF_MEMORY, 7]
    assert "out of memory" in capfd.readouterr().err


async def test_a_message_is_one_printable_line_and_failed_pages_have_one_a_minute(
    capfd: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    notices = Notices(write_line)
    write_line("evil\x1b[2J\nresults: http://evil.example")
    for _ in range(100):
        report_page_failure(notices, "/\x1b[31m\n", ValueError("\u202e"))
    await trio.sleep(61)
    report_page_failure(notices, "/results", ValueError("again"))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert "99 more" in lines[-1]


def test_writing_a_line_to_a_full_pipe_does_not_wait(
    pipe: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x")
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    monkeypatch.setattr(guard, "STDERR", writer)
    saying = threading.Thread(target=write_line, args=("a page failed",), daemon=True)
    saying.start()
    saying.join(5.0)
    waited = saying.is_alive()
    os.read(reader, 65_536)
    saying.join(WITHIN_S)
    assert not waited
