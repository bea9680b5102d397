"""The refiner (T3), which may ask a language model about each candidate.

The mode ``off`` passes candidates on unchanged, and asks no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs

from kamou.actors.base import Actor
from kamou.actors.journal import Journal
from kamou.actors.model_calls import ModelCalls
from kamou.core.book.candidate_events import CandidatesRefined, RefinedCandidate
from kamou.core.kinds import RefinerVerdict
from kamou.core.model import Candidate
from kamou.core.refiner_codes import RefinerMode
from kamou.core.refining.calls import AskModel
from kamou.core.refining.policy import ADVISORY, OFF, Refinement, decide_refinement
from kamou.core.shadow.opening import JudgedCandidate
from kamou.messages.signals import (
    CandidatesCleared,
    CandidatesJudged,
    RefinedSignal,
    SignalsRefined,
)
from kamou.runtime.mailbox_sides import Outbox
from kamou.settings.refiner import RefinerSettings


@attrs.define(kw_only=True, eq=False, slots=False)
class Refiner(Actor[CandidatesCleared]):
    """The actor that journals cleared candidates and sends them to the order manager.

    It sends all of them, whatever the verdict, to the shadow book, if there is one, and with them
    the candidates that vetoes stopped for real entries alone.

    The ``signal_id`` of a candidate in its ``CandidatesRefined`` event is the cause of an entry's
    review. Without ``ask``, as in a backtest, the mode is ``off``. While a model
    is asked, only candidates wait: orders and stops have actors of their own.
    """

    name: str = attrs.field(init=False, default="refiner")
    _journal: Journal
    _orders: Outbox[SignalsRefined]
    _shadows: Outbox[CandidatesJudged] | None = None  # None: no shadow book
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
            self._tell_shadow_book(message, ())
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
            verdicts = [decide_refinement(each, policy) for each in answers]
            stated = [None if each.answer is None else each.answer.p_win_pct for each in answers]
            self._pass_on(message, verdicts, stated)

    def _pass_on(
        self,
        message: CandidatesCleared,
        verdicts: Sequence[Refinement],
        stated: Sequence[int | None] | None = None,
    ) -> None:
        """Journal the verdicts, and send the candidates on.

        The order manager gets those that were not refused, the shadow book gets all.

        Args:
            message: the candidates.
            verdicts: one for each candidate.
            stated: a model's estimates that the candidate wins, in percent; None: no estimates.
        """
        candidates = tuple(
            RefinedCandidate(
                candidate=candidate,
                verdict=refined.verdict,
                size_multiplier=refined.size_multiplier,
                reason_code=refined.reason_code,
            )
            for candidate, refined in zip(message.candidates, verdicts, strict=True)
        )
        self._journal.cast(
            CandidatesRefined(
                at_ms=self.clock.now_ms(), cause_id=message.cause_id, candidates=candidates
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
        estimates = stated or [None] * len(candidates)
        judged = (
            JudgedCandidate(refined=refined, p_win_pct=estimate)
            for refined, estimate in zip(candidates, estimates, strict=True)
        )
        self._tell_shadow_book(message, tuple(judged))

    def _tell_shadow_book(
        self, message: CandidatesCleared, judged: tuple[JudgedCandidate, ...]
    ) -> None:
        """Send the judged candidates, and those of ``shadow_only``."""
        if self._shadows is None:
            return
        others = (JudgedCandidate(refined=_skip_verdict(each)) for each in message.shadow_only)
        self._shadows.put_nowait(
            CandidatesJudged(
                cause_id=message.cause_id,
                expires_at_ms=message.expires_at_ms,
                candidates=(*judged, *others),
            )
        )


def _skip_verdict(candidate: Candidate) -> RefinedCandidate:
    """Return a candidate that nobody judged, because it cannot become a real entry."""
    return RefinedCandidate(
        candidate=candidate,
        verdict=RefinerVerdict.OFF,
        size_multiplier=Decimal(0),
        reason_code="",
    )
