"""The gate's actor, which proposes the changes that the shadow record makes."""

from __future__ import annotations

import attrs

from kamou.actors.base import Actor
from kamou.actors.followers import BookFollower
from kamou.actors.journal import Journal
from kamou.actors.mailbox_set import Mailboxes
from kamou.clock import Clock
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS, day_start_ms
from kamou.core.record.gate_record import (
    LookKey,
    find_strategies,
    gather_record,
    key_of_look,
)
from kamou.core.record.gate_transitions import GateRules, find_transition
from kamou.messages.governor import ChangeGate
from kamou.messages.signals import ShadowRecordGrew
from kamou.runtime.mailbox_sides import Outbox

LOOK_DELAY_MS = 5 * MINUTE_MS  # after 00:00 UTC, so that the day's last bar has been read
LOOK_PERIOD_MS = HOUR_MS  # in case that a notice is lost with a crash
LOOK_AGAIN_MS = 30_000  # after a proposal, which the journal may not have


@attrs.define(kw_only=True, eq=False, slots=False)
class GateActor(Actor[ShadowRecordGrew]):
    """The actor that looks at the shadow record after closes and after each UTC day.

    It changes nothing by itself. The risk governor commits a change, so that no permit is granted
    between a demotion and its commit. A proposal that is lost is made again at the next look.
    """

    name: str = attrs.field(init=False, default="gate")
    _journal: Journal
    _governor: Outbox[ChangeGate]
    _rules: GateRules
    _follower: BookFollower = attrs.field(init=False)
    _due_ms: int = attrs.field(init=False)
    # By strategy: what the newest look without a change depended on.
    _seen: dict[str, LookKey] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._follower = BookFollower(self._journal)
        self._due_ms = self.clock.now_ms()

    async def recover(self) -> None:
        await self._follower.recover()

    def next_due_ms(self) -> int | None:
        return self._due_ms

    async def handle(self, message: ShadowRecordGrew) -> None:
        assert isinstance(message, ShadowRecordGrew), message
        await self._look()

    async def tick(self) -> None:
        await self._look()

    async def _look(self) -> None:
        """Look at every strategy whose record or state has changed since the last look."""
        book = await self._follower.follow()
        now_ms = self.clock.now_ms()
        self._due_ms = min(
            now_ms + LOOK_PERIOD_MS, day_start_ms(now_ms - LOOK_DELAY_MS) + DAY_MS + LOOK_DELAY_MS
        )
        for strategy in find_strategies(book):
            if await self._propose(book, strategy, now_ms):
                self._due_ms = now_ms + LOOK_AGAIN_MS

    async def _propose(self, book: PositionBook, strategy: str, now_ms: int) -> bool:
        """Send the governor the change that is due, if any; return True if there is one."""
        gate, key = book.gate.find(strategy), key_of_look(book, strategy, now_ms)
        if self._seen.get(strategy) == key:
            return False
        record = gather_record(book, strategy)
        # Limits take 0.2 s to calibrate, which must not delay the actors of the order path.
        run = self._journal.runner
        change = await run(find_transition, record, gate, now_ms, self._rules)
        if change is None:
            self._seen[strategy] = key
            return False
        self._governor.put_nowait(ChangeGate(cause_id=strategy, change=change))
        return True


def make_gate_actor(
    boxes: Mailboxes, journal: Journal, clock: Clock, rules: GateRules, deadline_s: float
) -> GateActor:
    """Return a gate's actor between these mailboxes.

    ``deadline_s`` is the time limit of a handler.
    """
    return GateActor(
        inbox=boxes.gate,
        clock=clock,
        journal=journal,
        governor=boxes.risk_governor,
        rules=rules,
        handler_deadline_s=deadline_s,
    )
