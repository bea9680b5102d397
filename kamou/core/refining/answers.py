"""The strict parse of a model's answer. A verdict can only refuse or shrink."""

from __future__ import annotations

from kamou.core.book.refiner_events import ModelAnswer
from kamou.core.kinds import RefinerVerdict
from kamou.core.refiner_codes import RefinerFailure, RefinerReason
from kamou.core.refining.prompt import SIZES
from kamou.core.refining.strict_json import RepeatedKeyError, read_strict_json

FIELDS = frozenset({"verdict", "size_pct", "p_win_pct", "reason_code"})
VERDICTS_OF_MODELS = {
    "approve": RefinerVerdict.APPROVE,
    "refuse": RefinerVerdict.REFUSE,
    "shrink": RefinerVerdict.SHRINK,
}
PERCENT_MAX = 100


def parse_answer(text: str) -> ModelAnswer | RefinerFailure:
    """Return the answer in a model's text, or why it is not valid.

    The text must be one JSON object with exactly the four fields, each once and with an allowed
    value. White space around it is allowed; a fence or any other text is not.
    """
    try:
        found = read_strict_json(text)
    except RepeatedKeyError:
        return RefinerFailure.ANSWER_REPEATS_KEY
    except ValueError:
        return RefinerFailure.ANSWER_NOT_JSON
    if not isinstance(found, dict):
        return RefinerFailure.ANSWER_NOT_JSON
    answer = _read_fields(found)
    if answer is None:
        return RefinerFailure.ANSWER_WRONG_FIELDS
    return answer if _is_consistent(answer) else RefinerFailure.ANSWER_INCONSISTENT


def _read_fields(found: dict[str, object]) -> ModelAnswer | None:
    if found.keys() != FIELDS:
        return None
    verdict, reason = found["verdict"], found["reason_code"]
    size, chance = found["size_pct"], found["p_win_pct"]
    if not isinstance(verdict, str) or verdict not in VERDICTS_OF_MODELS:
        return None
    if not isinstance(reason, str) or reason not in RefinerReason.__members__:
        return None
    # type() and not isinstance(): true is no number here, and 50.0 is no whole one.
    if type(size) is not int or size not in SIZES:
        return None
    if type(chance) is not int or not 0 <= chance <= PERCENT_MAX:
        return None
    return ModelAnswer(
        verdict=VERDICTS_OF_MODELS[verdict],
        size_pct=size,
        p_win_pct=chance,
        reason=RefinerReason(reason),
    )


def _is_consistent(answer: ModelAnswer) -> bool:
    approves = answer.verdict is RefinerVerdict.APPROVE
    if approves != (answer.reason is RefinerReason.NO_OBJECTION):
        return False
    if answer.verdict is RefinerVerdict.SHRINK:
        return 0 < answer.size_pct < PERCENT_MAX
    return answer.size_pct == (PERCENT_MAX if approves else 0)
