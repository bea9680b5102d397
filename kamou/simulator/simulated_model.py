"""A simulated language model for the refiner: slow, silent, failing, refusing.

It answers about candidates of the simulation. Nothing that it does may delay an order or a stop, or
spend more than the day's budget (invariant 14).
"""

from __future__ import annotations

from decimal import Decimal

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.refiner_events import ModelAnswer
from kamou.core.kinds import RefinerVerdict
from kamou.core.refiner_codes import AnswerForm, RefinerFailure, RefinerReason
from kamou.core.refining.calls import Outcome, Question, fail
from kamou.core.refining.responses import Completion
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.settings import MODEL, MODEL_DEADLINE_S

SILENT, SLOW, FAILING = 0.1, 0.25, 0.35  # cumulated probabilities of a call
DRAWN_ANSWERS = (
    (RefinerVerdict.APPROVE, 100),
    (RefinerVerdict.APPROVE, 100),
    (RefinerVerdict.SHRINK, 50),
    (RefinerVerdict.SHRINK, 25),
    (RefinerVerdict.REFUSE, 0),
)
# Failures of one request; the others are of the calls around it.
FAILURES = (
    RefinerFailure.UNREACHABLE,
    RefinerFailure.CONNECTION_LOST,
    RefinerFailure.RATE_LIMITED,
    RefinerFailure.SERVER_ERROR,
    RefinerFailure.ANSWER_NOT_JSON,
    RefinerFailure.ANSWER_INCONSISTENT,
)
FREE = frozenset({RefinerFailure.UNREACHABLE, RefinerFailure.RATE_LIMITED})


@attrs.frozen(kw_only=True)
class SimulatedModel:
    """The model, whose answers and failures the fault's random stream draws.

    In the convergence phase it approves at once.
    """

    chaos: Chaos
    clock: Clock  # true time

    async def ask(self, question: Question) -> Outcome:
        """Return the outcome of a call; some calls never end before they are canceled."""
        if self.clock.now_ms() >= self.chaos.convergence_ms:
            await trio.lowlevel.checkpoint()
            return _answered(question, RefinerVerdict.APPROVE, 100)
        draw = self.chaos.draw(FaultName.REFINER_TROUBLE)
        fate = draw.random()
        self.chaos.note(FaultName.REFINER_TROUBLE)
        if fate < SILENT:
            await trio.sleep_forever()
        await trio.sleep(draw.uniform(0.0, 2 * MODEL_DEADLINE_S) if fate < SLOW else 0.2)
        if fate < FAILING:
            failure = draw.choice(FAILURES)
            return fail(failure, Decimal(0) if failure in FREE else question.reserved_usd)
        return _answered(question, *draw.choice(DRAWN_ANSWERS))


def _answered(question: Question, verdict: RefinerVerdict, size_pct: int) -> Outcome:
    """Return a valid answer, which costs a third of its reservation."""
    approves = verdict is RefinerVerdict.APPROVE
    answer = ModelAnswer(
        verdict=verdict,
        size_pct=size_pct,
        p_win_pct=50,
        reason=RefinerReason.NO_OBJECTION if approves else RefinerReason.EDGE_TOO_SMALL,
    )
    return Outcome(
        completion=Completion(answer=answer, model=MODEL, finish_reason="stop"),
        cost_usd=question.reserved_usd / 3,
        form=AnswerForm.JSON_SCHEMA,
        requests=1,
        status=200,
    )
