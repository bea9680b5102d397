"""Task orders and random streams of a seed; seeding the order uses private names of Trio."""

from __future__ import annotations

import trio

from kamou.clock import JumpClock
from kamou.runtime.determinism import make_random_stream, seed_scheduler


def order_of_tasks(seed: int) -> list[int]:
    ran: list[int] = []

    async def step(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            ran.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(step, number)

    seed_scheduler(seed)
    trio.run(main, clock=JumpClock())
    return ran


def test_the_same_seed_schedules_tasks_in_the_same_order() -> None:
    assert order_of_tasks(1) == order_of_tasks(1)


def test_not_all_seeds_schedule_tasks_in_the_same_order() -> None:
    assert len({tuple(order_of_tasks(seed)) for seed in range(10)}) > 1


def test_a_random_stream_is_decided_by_its_seed_and_number() -> None:
    def drawn(seed: int, number: int) -> float:
        return make_random_stream(seed, number).random()

    assert drawn(7, 1) == drawn(7, 1)
    assert len({drawn(seed, number) for seed in (1, 11, 111) for number in (1, 11, 111)}) == 9
