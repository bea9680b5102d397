"""Values of a call of a model: the question, its outcome and the stored result."""

from __future__ import annotations

from collections.abc import Awaitable
from decimal import Decimal
from typing import Protocol

import attrs

from kamou.core.book.refiner_events import RefinerAnswer
from kamou.core.refiner_codes import AnswerForm, RefinerFailure
from kamou.core.refining.budget import TokenPrices
from kamou.core.refining.prompt import Prompt, RequestTerms, make_request
from kamou.core.refining.responses import Completion

FORMS = tuple(AnswerForm)


@attrs.frozen(kw_only=True)
class Question:
    """One candidate's prompt, with the money that is reserved for its call."""

    signal_id: str
    prompt: Prompt
    reserved_usd: Decimal


@attrs.frozen(kw_only=True)
class Outcome:
    """The end of a call; ``cost_usd`` is at most a little more than its reservation."""

    completion: Completion
    cost_usd: Decimal = Decimal(0)
    form: AnswerForm | None = None  # of the last request; None: no request
    requests: int = 0
    status: int = 0  # of the last response; 0: none


class AskModel(Protocol):
    """A call of a model about one candidate."""

    def __call__(self, question: Question, /) -> Awaitable[Outcome]:
        """Return the outcome; the caller cancels the call at its deadline."""
        ...


def reservation_usd(prompt: Prompt, terms: RequestTerms, prices: TokenPrices) -> Decimal:
    """Return the highest price of a call, with one request in each form of answer."""
    return sum(
        (request_cost_max(make_request(prompt, form, terms), terms, prices) for form in FORMS),
        Decimal(0),
    )


def request_cost_max(body: bytes, terms: RequestTerms, prices: TokenPrices) -> Decimal:
    """Return the highest price of one request."""
    return prices.cost_max(len(body), terms.max_output_tokens)


def fail(failure: RefinerFailure, cost_usd: Decimal = Decimal(0)) -> Outcome:
    """Return the outcome of a call that failed without a response."""
    return Outcome(completion=Completion(failure=failure), cost_usd=cost_usd)


def make_result(
    question: Question, outcome: Outcome, *, model: str, latency_ms: int
) -> RefinerAnswer:
    """Return the value that the journal stores of a call."""
    found = outcome.completion
    return RefinerAnswer(
        signal_id=question.signal_id,
        answer=None if found.failure else found.answer,
        failure=found.failure,
        prompt_hash=question.prompt.hash,
        model_asked=model,
        model_echoed=found.model,
        form=outcome.form,
        requests=outcome.requests,
        status=outcome.status,
        finish_reason=found.finish_reason,
        fingerprint=found.fingerprint,
        tokens_in=found.tokens_in,
        tokens_out=found.tokens_out,
        latency_ms=latency_ms,
        reserved_usd=question.reserved_usd,
        cost_usd=outcome.cost_usd,
        confidence=found.confidence,
    )
