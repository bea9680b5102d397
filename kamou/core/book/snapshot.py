"""Encoding of the position book's state as bytes, and decoding of them.

Equal values give the same bytes if their dicts have the same order. The supported types are attrs
classes, Decimal, enums, int, str, bool, None, tuples, lists and dicts. A dict is encoded as pairs
in insertion order, which depends only on the history of events.
"""

from __future__ import annotations

import json
import types
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs

from kamou.core.plain import Form, cache_by_type, to_plain

T = TypeVar("T")

STATE = Form(decimal=str, dicts=list, others=())
"""Form of state: Decimals with their exponents, dicts as pairs, and no floats."""


def dump_value(value: object) -> bytes:
    """Return a value as bytes: JSON in UTF-8.

    Raises:
        TypeError: the value contains an unsupported type.
    """
    return json.dumps(to_plain(value, STATE), separators=(",", ":"), ensure_ascii=False).encode()


def load_value(cls: type[T], data: bytes) -> T:
    """Return the value of type ``cls`` that ``dump_value`` wrote.

    Raises:
        ValueError, KeyError, TypeError, ArithmeticError: the bytes do not have such a value.
    """
    return cast(T, _build(cls, json.loads(data)))


def copy_value(value: T) -> T:
    """Return an independent copy of state.

    Attrs classes, dicts and lists are copied. The items of dicts and lists are frozen, so the copy
    shares them.
    """
    if isinstance(value, (dict, list)):
        return cast(T, value.copy())
    kind = type(value)
    fields = _copied_fields(kind)
    if not fields:
        return value
    return kind(**{name: copy_value(getattr(value, name)) for name in fields})


@cache_by_type
def _copied_fields(cls: type) -> tuple[str, ...]:
    """Return the fields of an attrs class; values of other classes are shared."""
    return tuple(each.name for each in attrs.fields(cls)) if attrs.has(cls) else ()


def _build(kind: Any, data: Any) -> object:  # noqa: ANN401  # an annotation, and JSON
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None:
            return None
        return _build(next(a for a in arguments if a is not type(None)), data)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_build(arguments[0], item) for item in data)
        return tuple(_build(a, item) for a, item in zip(arguments, data, strict=True))
    if origin is list:
        return [_build(arguments[0], item) for item in data]
    if origin is dict:
        return {_build(arguments[0], k): _build(arguments[1], v) for k, v in data}
    if kind is Decimal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return kind(data)
    if attrs.has(kind):
        return kind(**{name: _build(hint, data[name]) for name, hint in _fields(kind)})
    if not isinstance(data, kind):
        raise TypeError(
            f"cannot load {data!r}: expected {kind.__name__}, not {type(data).__name__};"
            " load bytes that the same version dumped"
        )
    return data


@cache_by_type
def _fields(cls: type) -> tuple[tuple[str, object], ...]:
    hints = get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in attrs.fields(cls))
