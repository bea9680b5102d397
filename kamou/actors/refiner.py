"""The refiner (T3), which may ask a language model about each candidate.

The mode ``off`` passes candidates on unchanged, and asks no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kamou.actors.base import Actor
from kamou.actors.journal import Journal
from kamou.actors.model_calls import ModelCalls
from kamou.core.book.candidate_events import CandidatesRefined, RefinedCandidate
from kamou.core.kinds import RefinerVerdict
from kamou.core.refiner_codes import RefinerMode
from kamou.core.refining.calls import AskModel
from kamou.core.refining.policy import ADVISORY, OFF, Refinement, decide_refinement
from kamou.messages.signals import CandidatesCleared, RefinedSignal, SignalsRefined
from kamou.runtime.mailbox_sides import Outbox
from kamou.settings.refiner import RefinerSettings


@attrs.define(kw_only=True, eq=False, slots=False)
class Refiner(Actor[CandidatesCleared]):
    """The actor that journals cleared candidates and sends them to the order manager.

    The ``signal_id`` of a candidate in its ``CandidatesRefined`` event is the cause of an entry's
    review. Without ``ask``, as in a backtest or a fast-forward, the mode is ``off``. While a model
    is asked, only candidates wait: orders and stops have actors of their own.
    """

    name: str = attrs.field(init=False, default="refiner")
    _journal: Journal
    _orders: Outbox[SignalsRefined]
    _settings: RefinerSettings = RefinerSettings()
    _ask: AskModel | None = None
    _calls: ModelCalls | None = attrs.field(init=False, default=None)

    async def recover(self) -> None:
        if self._ask is not None and self._settings.mode is not RefinerMode.OFF:
            calls = ModelCalls(
                ask=self._ask,
                settings=self._settings,
                journal=self._journal,
                clock=self.clock,
            )
            calls.restore()
            self._calls = calls
        await super().recover()

    async def handle(self, message: CandidatesCleared) -> None:
        assert isinstance(message, CandidatesCleared), message
        if not message.candidates:
            return
        count = len(message.candidates)
        if self._calls is None:
            self._pass_on(message, [OFF] * count)
        elif self._settings.mode is RefinerMode.ADVISORY:
            self._pass_on(message, [ADVISORY] * count)
            await self._calls.ask_all(message)
        else:
            assert self._settings.mode is RefinerMode.REQUIRED, self._settings.mode
            answers = await self._calls.ask_all(message)
            policy = self._settings.without_answer
            self._pass_on(message, [decide_refinement(each, policy) for each in answers])

    def _pass_on(self, message: CandidatesCleared, verdicts: Sequence[Refinement]) -> None:
        """Journal the verdicts and send the candidates that were not refused."""
        now = self.clock.now_ms()
        self._journal.cast(
            CandidatesRefined(
                at_ms=now,
                cause_id=message.cause_id,
                candidates=tuple(
                    RefinedCandidate(
                        candidate=candidate,
                        verdict=refined.verdict,
                        size_multiplier=refined.size_multiplier,
                        reason_code=refined.reason_code,
                    )
                    for candidate, refined in zip(message.candidates, verdicts, strict=True)
                ),
            )
        )
        self._orders.put_nowait(
            SignalsRefined(
                cause_id=message.cause_id,
                expires_at_ms=message.expires_at_ms,
                cycle_at_ms=message.cycle_at_ms,
                signals=tuple(
                    RefinedSignal(candidate=candidate, size_multiplier=refined.size_multiplier)
                    for candidate, refined in zip(message.candidates, verdicts, strict=True)
                    if refined.verdict is not RefinerVerdict.REFUSE
                ),
            )
        )
