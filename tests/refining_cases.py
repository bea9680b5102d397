"""Candidates, answers and responses of a model for tests of the refiner."""

from __future__ import annotations

import json
from typing import Any

from kamou.core.book.refiner_events import ModelAnswer
from kamou.core.kinds import RefinerVerdict
from kamou.core.model import Candidate, Side
from kamou.core.refiner_codes import AnswerForm, RefinerReason
from kamou.core.refining.prompt import TOOL

MODEL = "judge-1"
NOON = 1_767_268_800_000  # 2026-01-01T12:00Z
APPROVAL = ModelAnswer(
    verdict=RefinerVerdict.APPROVE, size_pct=100, p_win_pct=55, reason=RefinerReason.NO_OBJECTION
)
REFUSAL = ModelAnswer(
    verdict=RefinerVerdict.REFUSE, size_pct=0, p_win_pct=20, reason=RefinerReason.TREND_AGAINST
)
SHRINK = ModelAnswer(
    verdict=RefinerVerdict.SHRINK, size_pct=25, p_win_pct=40, reason=RefinerReason.EDGE_TOO_SMALL
)


def candidate(symbol: str = "SOLUSDT", **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "signal_id": f"{NOON}.mean_reversion.{symbol}",
        "strategy": "mean_reversion",
        "symbol": symbol,
        "side": Side.LONG,
        "score": 0.81234,
        "close": 137.21,
        "stop_distance": 2.744,
        "target_distance": 5.488,
        "hold_ms": 7_200_000,
        "bar_opened_at_ms": NOON - 900_000,
        "bar_closed_at_ms": NOON,
        "features": (("z", -2.3456), ("atr", 1.3721), ("level", 139.5)),
    }
    return Candidate(**values | changes)


def written(answer: ModelAnswer, **changes: Any) -> str:
    """Return the JSON with which a model gives this answer; a change to ... leaves a field out."""
    fields = {
        "verdict": str(answer.verdict),
        "size_pct": answer.size_pct,
        "p_win_pct": answer.p_win_pct,
        "reason_code": str(answer.reason),
    }
    return json.dumps({k: v for k, v in (fields | changes).items() if v is not ...})


def completion(text: object, form: AnswerForm = AnswerForm.JSON_SCHEMA, **changes: Any) -> Any:
    """Return the document of a chat completion; a change to ... leaves a field out.

    ``message``, ``finish_reason`` and ``logprobs`` are changed in the choice.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if form is AnswerForm.TOOL:
        call = {"type": "function", "id": "1", "function": {"name": TOOL, "arguments": text}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {
        "index": 0,
        "message": message | changes.pop("message", {}),
        "finish_reason": changes.pop("finish_reason", "stop"),
        "logprobs": changes.pop("logprobs", None),
    }
    document = {
        "id": "x",
        "object": "chat.completion",
        "created": 1_767_268_800,
        "model": MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 400, "completion_tokens": 30, "total_tokens": 430},
        "system_fingerprint": "fp_1",
    }
    return {k: v for k, v in (document | changes).items() if v is not ...}
