"""The refiner's calls of a model: reserve the money, journal it, ask, settle."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs
import trio

from kamou.actors.journal import Journal
from kamou.clock import Clock
from kamou.core.book.refiner_events import RefinerAnswer, RefinerCallsEnded, RefinerCallsReserved
from kamou.core.refiner_codes import RefinerFailure
from kamou.core.refining.budget import DailyBudget, TokenPrices
from kamou.core.refining.calls import (
    AskModel,
    Outcome,
    Question,
    fail,
    make_result,
    reservation_usd,
)
from kamou.core.refining.prompt import RequestTerms, make_prompt
from kamou.errors import CallTimeoutError, CallUnavailableError, StoreError
from kamou.messages.signals import CandidatesCleared
from kamou.settings.refiner import RefinerSettings
from kamou.store.refiner_calls import query_refiner_calls


def request_terms(settings: RefinerSettings) -> RequestTerms:
    """Return what each request has, from the settings."""
    return RequestTerms(
        model=settings.model,
        max_output_tokens=settings.max_output_tokens,
        logprobs=settings.logprobs,
    )


def token_prices(settings: RefinerSettings) -> TokenPrices:
    """Return the prices of the model's tokens, from the settings."""
    return TokenPrices(
        input_usd=settings.input_usd_per_million, output_usd=settings.output_usd_per_million
    )


@attrs.define(kw_only=True, eq=False)
class ModelCalls:
    """The calls of a cycle's candidates, within one deadline and the day's budget."""

    _ask: AskModel
    _settings: RefinerSettings
    _journal: Journal
    _clock: Clock
    _budget: DailyBudget = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._budget = DailyBudget(limit_usd=self._settings.budget_usd_per_day)

    def restore(self) -> None:
        """Read what the calls of this UTC day cost from the journal."""
        now_ms = self._clock.now_ms()
        self._budget.restore(*query_refiner_calls(self._journal.reader, now_ms), now_ms)

    async def ask_all(self, message: CandidatesCleared) -> tuple[RefinerAnswer, ...]:
        """Ask about each candidate and return the results, in order; journal them.

        The reservation is committed before the first request. If it cannot be, no call is made. All
        calls end by ``deadline_s``, and before the candidates expire.
        """
        began_ms = self._clock.now_ms()
        questions = [
            self._make_question(message, index) for index in range(len(message.candidates))
        ]
        affordable = [q for q in questions if self._budget.reserve(q.reserved_usd, began_ms)]
        results: dict[str, RefinerAnswer] = {}
        if not affordable or await self._commit(
            self._make_reservation(message, began_ms, affordable)
        ):
            missing = RefinerFailure.BUDGET_EXHAUSTED
            await self._ask_within_deadline(message, affordable, results)
        else:
            missing = RefinerFailure.NOT_JOURNALED
        late = self._clock.now_ms() >= message.expires_at_ms
        answers = tuple(
            self._note_expiry(results.get(q.signal_id) or self._finish(q, fail(missing)), late=late)
            for q in questions
        )
        cost_usd = sum((each.cost_usd for each in answers), Decimal(0))
        self._budget.settle(_sum_reserved(affordable), cost_usd, began_ms)
        self._journal.cast(
            RefinerCallsEnded(
                at_ms=self._clock.now_ms(),
                cause_id=message.cause_id,
                cycle_at_ms=message.cycle_at_ms,
                reserved_at_ms=began_ms,
                answers=answers,
            )
        )
        return answers

    def _make_question(self, message: CandidatesCleared, index: int) -> Question:
        candidate = message.candidates[index]
        prompt = make_prompt(candidate, index + 1)
        settings = self._settings
        return Question(
            signal_id=candidate.signal_id,
            prompt=prompt,
            reserved_usd=reservation_usd(prompt, request_terms(settings), token_prices(settings)),
        )

    def _make_reservation(
        self, message: CandidatesCleared, at_ms: int, questions: Sequence[Question]
    ) -> RefinerCallsReserved:
        return RefinerCallsReserved(
            at_ms=at_ms,
            cause_id=message.cause_id,
            cycle_at_ms=message.cycle_at_ms,
            calls=len(questions),
            reserved_usd=_sum_reserved(questions),
        )

    async def _commit(self, reservation: RefinerCallsReserved) -> bool:
        """Commit the reservation; return False if the journal did not confirm it."""
        try:
            await self._journal.commit(reservation)
        except (StoreError, CallUnavailableError, CallTimeoutError):
            return False
        return True

    async def _ask_within_deadline(
        self,
        message: CandidatesCleared,
        questions: Sequence[Question],
        results: dict[str, RefinerAnswer],
    ) -> None:
        """Put a result for each question into ``results``, before the deadline."""
        left_s = (message.expires_at_ms - self._clock.now_ms()) / 1000
        turns = trio.Semaphore(self._settings.concurrency)
        started: set[str] = set()

        async def ask_one(question: Question) -> None:
            async with turns:
                started.add(question.signal_id)
                began_ms = self._clock.now_ms()
                outcome = await self._ask(question)
                results[question.signal_id] = self._finish(question, outcome, began_ms)

        with trio.move_on_after(min(self._settings.deadline_s, left_s)):
            async with trio.open_nursery() as nursery:
                for question in questions:
                    nursery.start_soon(ask_one, question)
        for question in questions:
            if question.signal_id not in results:
                # Nobody knows what a call that was cut off costs: its whole reservation counts.
                sent = question.signal_id in started
                cost_usd = question.reserved_usd if sent else Decimal(0)
                late = fail(RefinerFailure.DEADLINE_PASSED, cost_usd)
                results[question.signal_id] = self._finish(question, late)

    def _finish(
        self, question: Question, outcome: Outcome, began_ms: int | None = None
    ) -> RefinerAnswer:
        latency_ms = 0 if began_ms is None else self._clock.now_ms() - began_ms
        return make_result(question, outcome, model=self._settings.model, latency_ms=latency_ms)

    def _note_expiry(self, result: RefinerAnswer, *, late: bool) -> RefinerAnswer:
        """Return the result; a valid answer about an expired candidate is a failure."""
        if not late or result.failure is not None:
            return result
        return attrs.evolve(result, answer=None, failure=RefinerFailure.CANDIDATE_EXPIRED)


def _sum_reserved(questions: Sequence[Question]) -> Decimal:
    return sum((each.reserved_usd for each in questions), Decimal(0))
