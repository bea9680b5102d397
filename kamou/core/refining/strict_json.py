"""A strict reader of JSON that somebody else wrote."""

from __future__ import annotations

import json
import math

DIGITS_MAX = 30  # of one number; no valid answer has a longer one


class RepeatedKeyError(ValueError):
    """An object has a key twice. Readers differ in the value that they take."""


def read_strict_json(text: str | bytes) -> object:
    """Return the value of a JSON text.

    Raises:
        RepeatedKeyError: an object at any depth has a key twice.
        ValueError: the text is not one JSON value in UTF-8, is nested too deeply, or has NaN,
            infinity or a number of more than ``DIGITS_MAX`` characters.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(
            decoded,
            object_pairs_hook=_make_object,
            parse_int=_read_int,
            parse_float=_read_float,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise RepeatedKeyError("an object has a key twice")
    return made


def _read_int(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a number has {len(digits)} characters, more than {DIGITS_MAX}")
    return int(digits)


def _read_float(digits: str) -> float:
    number = float(digits)
    if len(digits) > DIGITS_MAX or not math.isfinite(number):
        raise ValueError(f"a number is infinite or has more than {DIGITS_MAX} characters")
    return number


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
