"""Contract of the public site's process: tests of the real and the simulated one.

A test module has two fixtures: ``bench``, whose ``launch(fate)`` starts a process with that fate,
and ``clock``, Trio's clock for it (None: real time).
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

WITHIN_S = 30.0  # much longer than any wait in these tests


class Bench(Protocol):
    """Starter of processes of one kind."""

    def launch(self, fate: Fate) -> Launch:
        """Return the launch of a process with this fate."""
        ...


async def receive_heartbeat(process: SiteProcess) -> Heartbeat:
    beat = await process.next_heartbeat()
    assert beat is not None
    return beat


async def drain_heartbeats(process: SiteProcess) -> None:
    while await process.next_heartbeat() is not None:
        pass


class SiteProcessContract:
    """Tests of the contract; each kind of process has a subclass."""

    async def test_a_process_that_serves_sends_heartbeats_until_its_block_ends(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.LIVES)() as process:
                beats = [await receive_heartbeat(process) for _ in range(3)]
            assert all(beat.memory_bytes > 0 for beat in beats)
            await process.wait()

    async def test_a_process_that_crashes_returns_its_exit_code_and_its_last_text(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.CRASHES)() as process:
                await receive_heartbeat(process)
                assert await process.wait() == 1
                await drain_heartbeats(process)
                text = b""
                while chunk := await process.next_text():
                    text += chunk
                assert b"MemoryError" in text
                assert await process.next_text() == b""
                assert await process.wait() == 1

    async def test_a_process_that_hangs_does_not_end_and_is_killed_at_the_end_of_its_block(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.HANGS)() as process:
                await receive_heartbeat(process)
                with trio.move_on_after(2.0) as waited:
                    await drain_heartbeats(process)
                assert waited.cancelled_caught
            assert await process.wait() == -9

    async def test_a_process_that_never_serves_sends_no_heartbeat_and_ends_with_its_block(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.NEVER_SERVES)() as process:
                with trio.move_on_after(1.0) as waited:
                    await process.next_heartbeat()
                assert waited.cancelled_caught
            await process.wait()

    async def test_text_is_read_in_pieces_of_limited_size(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.FLOODS)() as process:
                pieces = [await process.next_text() for _ in range(100)]
            assert all(0 < len(piece) <= TEXT_BYTES for piece in pieces)
            await process.wait()

    async def test_bytes_that_are_no_heartbeat_are_an_error(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.GARBLES)() as process:
                with pytest.raises(SiteFloodError, match="not a heartbeat"):
                    await drain_heartbeats(process)
            await process.wait()

    async def test_a_process_that_cannot_be_started_is_a_start_error(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with pytest.raises(SiteStartError, match="cannot be started"):
            async with bench.launch(Fate.IS_REFUSED)():
                raise AssertionError

    async def test_heartbeats_are_received_after_canceled_waits(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            async with bench.launch(Fate.LIVES)() as process:
                await receive_heartbeat(process)
                for _ in range(20):
                    with trio.move_on_after(0.03):
                        await process.next_heartbeat()
                await receive_heartbeat(process)
            await process.wait()

    async def test_the_cancellation_of_its_block_ends_the_process(
        self, bench: Bench, clock: Clock | None
    ) -> None:
        with trio.fail_after(WITHIN_S):
            with trio.CancelScope() as scope:
                async with bench.launch(Fate.LIVES)() as process:
                    await receive_heartbeat(process)
                    scope.cancel()
                    await trio.sleep_forever()
            await process.wait()
