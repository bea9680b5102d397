"""The refiner (T3), which passes candidates on with the verdict ``off``.

The AI refiner is not built yet.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.actors.base import Actor
from kamou.actors.journal import Journal
from kamou.core.book.candidate_events import CandidatesRefined, RefinedCandidate
from kamou.core.kinds import RefinerVerdict
from kamou.messages.signals import CandidatesCleared, RefinedSignal, SignalsRefined
from kamou.runtime.mailbox_sides import Outbox

FULL_SIZE = Decimal(1)


@attrs.define(kw_only=True, eq=False, slots=False)
class Refiner(Actor[CandidatesCleared]):
    """The actor that journals cleared candidates and sends them to the order manager.

    Each candidate keeps its full size. The ``signal_id`` of a candidate in its
    ``CandidatesRefined`` event is the cause of an entry's review.
    """

    name: str = attrs.field(init=False, default="refiner")
    _journal: Journal
    _orders: Outbox[SignalsRefined]

    async def handle(self, message: CandidatesCleared) -> None:
        assert isinstance(message, CandidatesCleared), message
        now = self.clock.now_ms()
        self._journal.cast(
            CandidatesRefined(
                at_ms=now,
                cause_id=message.cause_id,
                candidates=tuple(
                    RefinedCandidate(
                        candidate=candidate,
                        verdict=RefinerVerdict.OFF,
                        size_multiplier=FULL_SIZE,
                        reason_code="",
                    )
                    for candidate in message.candidates
                ),
            )
        )
        self._orders.put_nowait(
            SignalsRefined(
                cause_id=message.cause_id,
                expires_at_ms=message.expires_at_ms,
                cycle_at_ms=message.cycle_at_ms,
                signals=tuple(
                    RefinedSignal(candidate=candidate, size_multiplier=FULL_SIZE)
                    for candidate in message.candidates
                ),
            )
        )
