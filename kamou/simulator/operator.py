"""The simulated operator, who halts, flattens, restarts and resumes."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from kamou import app
from kamou.clock import Clock
from kamou.core.codes import StateReason
from kamou.core.day import MINUTE_MS
from kamou.core.model import TradingState
from kamou.messages.governor import Flatten, Halt, Resume
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.monitor import Monitor

ATTENDANT_MS = 3 * MINUTE_MS  # time between two checks of the trading state


@attrs.frozen(kw_only=True)
class SimulatedOperator:
    """The operator of one process.

    ``reconfigure`` changes the settings of the next process.
    """

    chaos: Chaos
    monitor: Monitor
    clock: Clock
    reconfigure: Callable[[float], None]

    async def operate(self, tree: app.Tree, ended: trio.Event) -> None:
        """Give a command at each drawn moment; set ``ended`` for a restart."""
        start_ms, draw = self.clock.now_ms(), self.chaos.draw(FaultName.OPERATOR)
        for at_ms in self.chaos.moments(FaultName.OPERATOR):
            if at_ms <= start_ms:
                continue
            await self.clock.sleep_until(at_ms)
            if draw.random() < 0.5:  # while an entry is being sent
                await self._next_grant()
            now_ms = self.clock.now_ms()
            if now_ms >= self.chaos.convergence_ms:
                return
            self.chaos.note(FaultName.OPERATOR)
            what = draw.choice(("halt", "flatten", "resume", "restart", "restart"))
            self.monitor.coverage[f"operator {what}"] += 1
            self.monitor.note(f"{at_ms} operator {what}")
            match what:
                case "halt":
                    self.monitor.halts.expect_state(TradingState.REDUCE_ONLY, now_ms)
                    tree.governor.put_priority(Halt(reason=StateReason.OPERATOR_HALT))
                case "flatten":
                    self.monitor.halts.expect_state(TradingState.FLATTENING, now_ms)
                    tree.governor.put_priority(Flatten(reason=StateReason.OPERATOR_FLATTEN))
                case "resume":
                    tree.governor.put_priority(Resume())
                case "restart":
                    self.reconfigure(draw.random())
                    ended.set()
                    return

    async def _next_grant(self) -> None:
        """Wait until the next permit is committed."""
        granted = trio.Event()
        self.monitor.on_grant = granted.set
        await granted.wait()

    async def attend(self, tree: app.Tree, until_ms: int) -> None:
        """Resume during a halt, one step at a time, until ``until_ms``."""
        while True:
            await trio.sleep(ATTENDANT_MS / 1000)
            converging = self.clock.now_ms() >= until_ms
            if (
                self.monitor.state not in (TradingState.ACTIVE, TradingState.REDUCED_SIZE)
                and not converging
            ):
                tree.governor.put_priority(Resume(note="the simulated operator resumes"))
