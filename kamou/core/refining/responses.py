"""Chat completions read strictly: the answer's text, usage and token confidence."""

from __future__ import annotations

import math
from typing import TypeGuard

import attrs

from kamou.core.book.refiner_events import AnswerConfidence, ModelAnswer
from kamou.core.refiner_codes import AnswerForm, RefinerFailure
from kamou.core.refining.answers import parse_answer
from kamou.core.refining.prompt import TOOL
from kamou.core.refining.strict_json import read_strict_json

TEXT_CHARS_MAX = 200  # of a stored text of the server
TOKENS_MAX = 1_000_000_000
COMPLETE = frozenset({"stop", "tool_calls"})
CUT_SHORT = frozenset({"length", "content_filter"})
UNKNOWN_MODEL = frozenset({"model_not_found", "model_not_supported"})
FORM_STATUSES = frozenset({400, 415, 422, 501})  # of a server that lacks a form of answer
KEY_STATUSES = frozenset({401, 403})


@attrs.frozen(kw_only=True)
class Completion:
    """One response: an answer or a failure, and what the server said of it."""

    answer: ModelAnswer | None = None
    failure: RefinerFailure | None = None
    model: str = ""
    finish_reason: str = ""
    fingerprint: str = ""
    tokens_in: int | None = None  # both are None without a valid usage
    tokens_out: int | None = None
    confidence: AnswerConfidence | None = None


def read_error(status: int, body: bytes) -> RefinerFailure:
    """Return the failure of a response whose status is not 200."""
    if status in KEY_STATUSES:
        return RefinerFailure.KEY_REJECTED
    if status == 429:
        return RefinerFailure.RATE_LIMITED
    if status == 404 or _error_code(body) in UNKNOWN_MODEL:
        return RefinerFailure.MODEL_UNKNOWN
    if status in FORM_STATUSES:
        return RefinerFailure.FORMS_UNSUPPORTED
    return RefinerFailure.SERVER_ERROR if status >= 500 else RefinerFailure.REQUEST_REJECTED


def _error_code(body: bytes) -> object:
    try:
        found = read_strict_json(body)
    except ValueError:
        return None
    error = found.get("error") if isinstance(found, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def read_completion(body: bytes, form: AnswerForm, model_asked: str) -> Completion:
    """Return the answer of a response with status 200, or why it has no valid one."""
    try:
        found = read_strict_json(body)
    except ValueError:
        return Completion(failure=RefinerFailure.RESPONSE_INVALID)
    if not _is_object(found):
        return Completion(failure=RefinerFailure.RESPONSE_INVALID)
    tokens_in, tokens_out = _read_usage(found.get("usage"))
    known = Completion(
        model=_read_text(found.get("model")),
        fingerprint=_read_text(found.get("system_fingerprint")),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )
    choice = _only_choice(found.get("choices"))
    if choice is None:
        is_error = found.get("error") is not None
        failure = RefinerFailure.RESPONSE_IS_ERROR if is_error else RefinerFailure.RESPONSE_INVALID
        return attrs.evolve(known, failure=failure)
    known = attrs.evolve(
        known,
        finish_reason=_read_text(choice.get("finish_reason")),
        confidence=_read_confidence(choice.get("logprobs")),
    )
    if not _is_same_model(model_asked, known.model):
        return attrs.evolve(known, failure=RefinerFailure.MODEL_DIFFERS)
    answer = _read_answer(choice, known.finish_reason, form)
    if isinstance(answer, ModelAnswer):
        return attrs.evolve(known, answer=answer)
    return attrs.evolve(known, failure=answer)


def _read_answer(
    choice: dict[str, object], finish_reason: str, form: AnswerForm
) -> ModelAnswer | RefinerFailure:
    message = choice.get("message")
    if finish_reason in CUT_SHORT:
        return RefinerFailure.ANSWER_TRUNCATED
    if not _is_object(message) or finish_reason not in COMPLETE:
        return RefinerFailure.RESPONSE_INVALID
    content, called = message.get("content"), _read_tool_call(message.get("tool_calls"))
    text, other = (called, content) if form is AnswerForm.TOOL else (content, called)
    if isinstance(text, str) and text.strip():
        return parse_answer(text)
    # Never taken from there: the request asked for another field.
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    elsewhere = isinstance(other, str) and other.strip()
    if elsewhere or reasoning:
        return RefinerFailure.ANSWER_ELSEWHERE
    return RefinerFailure.ANSWER_MISSING


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _only_choice(choices: object) -> dict[str, object] | None:
    if not isinstance(choices, list) or len(choices) != 1:
        return None
    (choice,) = choices
    return choice if isinstance(choice, dict) else None


def _read_tool_call(calls: object) -> str | None:
    """Return the arguments of the one call of our tool; None without exactly that."""
    if not isinstance(calls, list) or len(calls) != 1 or not isinstance(calls[0], dict):
        return None
    function = calls[0].get("function")
    if not isinstance(function, dict) or function.get("name") != TOOL:
        return None
    arguments = function.get("arguments")
    return arguments if isinstance(arguments, str) else None


def _read_text(value: object) -> str:
    """Return a text of the server, printable and not longer than we store."""
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else "?" for each in value[:TEXT_CHARS_MAX])


def _read_usage(usage: object) -> tuple[int | None, int | None]:
    """Return the tokens of prompt and answer; (None, None) if one is not valid."""
    if not isinstance(usage, dict):
        return None, None
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    given, made = tokens
    if type(given) is not int or type(made) is not int:  # true is no number of tokens
        return None, None
    # A prompt without tokens is no usage: it would make the call free.
    return (given, made) if 0 < given <= TOKENS_MAX and 0 <= made <= TOKENS_MAX else (None, None)


def _is_same_model(asked: str, echoed: str) -> bool:
    """Return True for the same name, with a version after it or a provider before it."""
    return bool(echoed) and (
        echoed == asked or echoed.startswith(f"{asked}-") or asked.endswith(f"/{echoed}")
    )


def _read_confidence(logprobs: object) -> AnswerConfidence | None:
    """Return a summary of the tokens' log probabilities; None if they are not valid."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    found = [each.get("logprob") for each in tokens if isinstance(each, dict)]
    valid = [
        float(each)
        for each in found
        if isinstance(each, int | float) and not isinstance(each, bool) and each <= 0
    ]
    if len(valid) < len(tokens):
        return None
    return AnswerConfidence(
        tokens=len(valid), mean=math.fsum(valid) / len(valid), lowest=min(valid)
    )
