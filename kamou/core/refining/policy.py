"""The verdict on a candidate from the model's answer, the mode and the policy."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.refiner_events import RefinerAnswer
from kamou.core.kinds import RefinerVerdict
from kamou.core.refiner_codes import WithoutAnswer

FULL_SIZE = Decimal(1)
PERCENT = Decimal(100)


@attrs.frozen(kw_only=True)
class Refinement:
    """The verdict on one candidate; the multiplier is 0 to 1, and 0 for a refusal."""

    verdict: RefinerVerdict
    size_multiplier: Decimal
    reason_code: str


OFF = Refinement(verdict=RefinerVerdict.OFF, size_multiplier=FULL_SIZE, reason_code="")
ADVISORY = Refinement(verdict=RefinerVerdict.ADVISORY, size_multiplier=FULL_SIZE, reason_code="")


def decide_refinement(result: RefinerAnswer, policy: WithoutAnswer) -> Refinement:
    """Return the verdict in the mode ``required``.

    A failure refuses the candidate, or lets it pass unchanged if the policy says so.
    """
    answer = result.answer
    if result.failure is None:
        assert answer is not None, result
        return Refinement(
            verdict=answer.verdict,
            size_multiplier=min(answer.size_pct / PERCENT, FULL_SIZE),
            reason_code=answer.reason,
        )
    code = result.failure
    match policy:
        case WithoutAnswer.REFUSE:
            return Refinement(
                verdict=RefinerVerdict.REFUSE, size_multiplier=Decimal(0), reason_code=code
            )
        case WithoutAnswer.PASS:
            return Refinement(
                verdict=RefinerVerdict.UNANSWERED, size_multiplier=FULL_SIZE, reason_code=code
            )
