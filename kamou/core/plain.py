"""Conversion of values into plain data for JSON: dicts, lists, texts and numbers.

``Form`` states how a kind of document writes decimals and dicts. Events and messages have an
encoding of their own, in ``messages/codec.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

import attrs

F = TypeVar("F", bound=Callable[..., object])


def cache_by_type(function: F) -> F:
    """Return the function, which takes one class, with cached results.

    Its signature stays. mypy does not count a class as hashable, so it accepts no class as an
    argument of a function that ``functools.cache`` returns.
    """
    return cast(F, cache(function))


def fixed_text(value: Decimal) -> str:
    """Return a Decimal with all of its digits and without an exponent."""
    return format(value, "f")


@attrs.frozen(kw_only=True)
class Form:
    """The way in which one kind of document writes decimals, dicts and further types."""

    decimal: Callable[[Decimal], str] = fixed_text
    # Makes the data of a dict from pairs of a plain key and a plain value.
    dicts: Callable[[Iterable[tuple[Any, Any]]], object] = dict
    others: tuple[type, ...] = (float,)  # further types that stay as they are


DOCUMENT = Form()
"""Form of documents that people and their programs read."""


def to_plain(value: object, form: Form = DOCUMENT) -> Any:  # noqa: ANN401  # like JSON
    """Return a value of attrs classes and Python's own types as plain data.

    An attrs class becomes a dict in the order of its fields, an enum its value, and a tuple a list.
    ``form`` writes Decimals and dicts. None, bool, int and str stay, and so do the types in
    ``form.others``.

    Raises:
        TypeError: the value contains an unsupported type.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return form.decimal(value)
    if isinstance(value, (tuple, list)):
        return [to_plain(item, form) for item in value]
    if isinstance(value, dict):
        return form.dicts((to_plain(k, form), to_plain(item, form)) for k, item in value.items())
    if (names := _field_names(type(value))) is not None:
        return {name: to_plain(getattr(value, name), form) for name in names}
    if isinstance(value, form.others):
        return value
    raise TypeError(
        f"cannot convert {value!r:.80}: plain data may not contain a {type(value).__name__};"
        " use attrs, Decimal, enum, int, str, bool, None, tuple, list or dict"
    )


@cache_by_type
def _field_names(kind: type) -> tuple[str, ...] | None:
    """Return the field names of an attrs class; None for another class."""
    return tuple(field.name for field in attrs.fields(kind)) if attrs.has(kind) else None
