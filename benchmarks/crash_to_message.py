"""From an actor's crash to the next message it handles, against one Trio channel hop. Prints JSON.

    python benchmarks/crash_to_message.py [--rounds 500]

An actor under its supervisor crashes on every second message; the next one waits in its mailbox.
Measured is the wall time from the raise to the next incarnation's handling of that message, with
the back-off set to nothing: the back-off is a choice, not a cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import trio
from quantiles import quantiles_us

from kamou.actors.base import Actor
from kamou.clock import SystemClock
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.supervision import ChildSpec, SupervisorSpec
from kamou.supervisor import Supervisor

CRASH, WORK = "crash", "work"


class Fragile(Actor[Any]):
    """Notes when it crashed and when it next worked."""

    def __init__(self, notes: Notes, inbox: Mailbox[Any]) -> None:
        super().__init__(name="fragile", inbox=inbox, clock=SystemClock(), handler_deadline_s=30.0)
        self._notes = notes

    async def handle(self, message: object) -> None:
        if message == CRASH:
            self._notes.crashed_ns = time.perf_counter_ns()
            raise RuntimeError("as the benchmark wants it")
        self._notes.taken_ns.append(time.perf_counter_ns() - self._notes.crashed_ns)
        self._notes.worked.set()


class Notes:
    def __init__(self) -> None:
        self.crashed_ns = 0
        self.taken_ns: list[int] = []
        self.worked = trio.Event()


def restarts_ns(rounds: int) -> list[int]:
    clock = SystemClock()
    notes = Notes()

    async def main() -> None:
        inbox: Mailbox[Any] = Mailbox("fragile", 8, now_ms=clock.now_ms)

        async def start(task_status: trio.TaskStatus[None]) -> None:
            await Fragile(notes, inbox).run(task_status)

        child = ChildSpec(id="fragile", start=start, stop=inbox.ask_to_stop, mailboxes=(inbox,))
        spec = SupervisorSpec(
            id="root",
            children=(child,),
            intensity=2 * rounds,
            backoff_base_s=0.0,
            backoff_cap_s=0.0,
        )
        supervisor = Supervisor(spec)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for _ in range(rounds):
                notes.worked = trio.Event()
                inbox.put_nowait(CRASH)
                inbox.put_nowait(WORK)
                await notes.worked.wait()
            await supervisor.stop()
            nursery.cancel_scope.cancel()

    trio.run(main)
    return notes.taken_ns


def hop_ns(rounds: int) -> list[int]:
    taken: list[int] = []

    async def worker(receive: Any, done: Any) -> None:
        async for sent_ns in receive:
            taken.append(time.perf_counter_ns() - sent_ns)
            done.send_nowait(None)

    async def main() -> None:
        send, receive = trio.open_memory_channel[int](8)
        done_send, done = trio.open_memory_channel[None](8)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker, receive, done_send)
            for _ in range(rounds):
                send.send_nowait(time.perf_counter_ns())
                await done.receive()
            nursery.cancel_scope.cancel()

    trio.run(main)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    given = parser.parse_args()
    bare = quantiles_us(hop_ns(10 * given.rounds))
    ours = quantiles_us(restarts_ns(given.rounds))
    report = {
        "benchmark": "crash_to_message",
        "unit": "us wall",
        "crash_to_message": ours,
        "one_hop": bare,
        "ratios": {
            "p50_to_hop_p50": round(ours["p50"] / bare["p50"], 1),
            "p99_to_hop_p50": round(ours["p99"] / bare["p50"], 1),
        },
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
