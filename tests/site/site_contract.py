"""What every process of the public site must do, real or simulated.

A test module brings two fixtures: ``bench``, whose ``launch(fate)`` starts a process with one of
the fates below, and ``clock``, Trio's clock for it (None: the machine's).
"""

from __future__ import annotations

from typing import Protocol

import pytest
import trio
from trio.abc import Clock

from kamou.errors import SiteFloodError, SiteStartError
from kamou.simulator.simulated_site import Fate
from kamou.site.port import TEXT_BYTES, Launch, SiteProcess
from kamou.site.process_protocol import Heartbeat

WITHIN_S = 30.0  # far beyond what any wait here takes


class Bench(Protocol):
    """Starts processes of one kind."""

    def launch(self, fate: Fate) -> Launch:
        """A launch of a process whose fate meets it right after its first heartbeat."""
        ...


async def first_beat(process: SiteProcess) -> Heartbeat:
    beat = await process.next_heartbeat()
    assert beat is not None
    return beat


async def last_beat(process: SiteProcess) -> None:
    while await process.next_heartbeat() is not None:
        pass


class SiteProcessContract:
    """Subclassed once for each kind of process."""

    async def test_a_process_that_serves_sends_heartbeats_until_it_is_left(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.LIVES)() as process:
                beats = [await first_beat(process) for _ in range(3)]
            assert all(beat.memory_bytes > 0 for beat in beats)
            await process.wait()

    async def test_a_process_that_crashes_reports_its_exit_code_and_its_last_text(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.CRASHES)() as process:
                await first_beat(process)
                assert await process.wait() == 1
                await last_beat(process)
                said = b""
                while chunk := await process.next_text():
                    said += chunk
                assert b"MemoryError" in said
                assert await process.next_text() == b""
                assert await process.wait() == 1

    async def test_a_process_that_hangs_sends_nothing_and_is_ended_all_the_same(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.HANGS)() as process:
                await first_beat(process)
                with trio.move_on_after(2.0) as waited:
                    await last_beat(process)
                assert waited.cancelled_caught
            assert await process.wait() == -9

    async def test_a_process_that_never_serves_sends_nothing_and_is_ended(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.NEVER_SERVES)() as process:
                with trio.move_on_after(1.0) as waited:
                    await process.next_heartbeat()
                assert waited.cancelled_caught
            await process.wait()

    async def test_text_comes_in_pieces_of_bounded_size_however_much_there_is(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.FLOODS)() as process:
                pieces = [await process.next_text() for _ in range(100)]
            assert all(0 < len(piece) <= TEXT_BYTES for piece in pieces)
            await process.wait()

    async def test_a_heartbeat_that_is_none_is_an_error(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.GARBLES)() as process:
                with pytest.raises(SiteFloodError, match="not a heartbeat"):
                    await last_beat(process)
            await process.wait()

    async def test_a_start_that_fails_in_the_system_is_an_error_with_its_reason(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with pytest.raises(SiteStartError, match="cannot be started"):
            async with bench.launch(Fate.IS_REFUSED)():
                raise AssertionError

    async def test_a_heartbeat_is_not_lost_when_the_wait_for_it_is_cancelled(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.LIVES)() as process:
                await first_beat(process)
                for _ in range(20):
                    with trio.move_on_after(0.03):
                        await process.next_heartbeat()
                await first_beat(process)
            await process.wait()

    async def test_leaving_a_cancelled_scope_ends_the_process_too(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            with trio.CancelScope() as scope:
                async with bench.launch(Fate.LIVES)() as process:
                    await first_beat(process)
                    scope.cancel()
                    await trio.sleep_forever()
            await process.wait()
