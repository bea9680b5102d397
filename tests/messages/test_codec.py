"""The codec decodes values without loss, and fails for values without an encoding."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kamou import messages
from kamou.core import book
from kamou.core.book import events
from kamou.core.book.event_kinds import EVENTS
from kamou.core.book.events import Event
from kamou.core.model import Candidate, PositionReport, Side
from kamou.messages import codec, signals
from kamou.messages.envelope import Expiring, Message


def classes(module: types.ModuleType, base: type) -> set[type]:
    """Return the classes of a module that derive from ``base``."""
    return {
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, base) and cls not in (base, Message, Expiring)
    }


def classes_in(package: types.ModuleType, base: type) -> set[type]:
    """Return the classes of all modules of a package that derive from ``base``."""
    return {
        cls
        for found in pkgutil.iter_modules(package.__path__)
        for cls in classes(importlib.import_module(f"{package.__name__}.{found.name}"), base)
    }


MESSAGES = sorted(classes_in(messages, Message), key=lambda cls: cls.__name__)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**63 - 1)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(codec="utf-8"), max_size=8),
    int: INTS,
    float: FINITE,
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
}


def built(hint: Any) -> st.SearchStrategy[Any]:
    """Return a Hypothesis strategy for values of a type hint."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if origin in (typing.Union, types.UnionType):
        return st.one_of([built(arg) for arg in args])
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(built(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*[built(arg) for arg in args])
    if origin is np.ndarray:
        dtype = np.dtype(typing.get_args(args[1])[0])
        return hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=3))
    if origin is Mapping:
        return st.dictionaries(built(args[0]), built(args[1]), max_size=2)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    if issubclass(hint, tuple):  # a NamedTuple
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{name: built(hints[name]) for name in hint._fields})
    assert attrs.has(hint), hint
    hints = typing.get_type_hints(hint)
    fields = {f.name: built(hints[f.name]) for f in attrs.fields(hint)}
    if hint is PositionReport:  # a mark price is positive
        fields["mark_price"] = fields["mark_price"].filter(lambda price: price > 0)
    return st.builds(hint, **fields)


def same(a: Any, b: Any) -> bool:
    """Return True if two values agree in type, array bits and the sign of zero."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if attrs.has(type(a)):
        names = [f.name for f in attrs.fields(type(a))]
        return all(same(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, Decimal):
        return bool(a.as_tuple() == b.as_tuple())
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and a == b
    return bool(a == b)


@pytest.mark.parametrize("cls", [*EVENTS, *MESSAGES], ids=lambda cls: cls.__name__)
def test_every_event_and_message_decodes_to_an_equal_value(cls: type) -> None:
    @settings(max_examples=12)
    @given(built(cls))
    def round_trip(value: Any) -> None:
        body = codec.encode(value)
        back: Any = codec.decode(cls, body)
        assert same(value, back)
        assert codec.encode(back) == body
        keys = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
        assert list(json.loads(keys)) == list(json.loads(body))

    round_trip()


def test_every_event_has_a_kind() -> None:
    written = classes_in(book, Event)
    assert written == set(EVENTS) == set(codec.KINDS)


def test_kinds_are_snake_case_and_each_kind_decodes_to_its_class() -> None:
    assert codec.kind_of(events.PermitGranted) == "permit_granted"
    assert all(codec.EVENT_OF_KIND[kind] is cls for cls, kind in codec.KINDS.items())
    event = events.DayOpened(at_ms=1, day="2023-11-15", equity=Decimal("1E+4"))
    assert codec.decode_event("day_opened", codec.encode(event)) == event


def test_the_encoding_is_compact_sorted_and_exact() -> None:
    event = events.DayOpened(at_ms=5, day="d", equity=Decimal("10.50"))
    assert codec.encode(event) == (
        b'{"at_midnight":true,"at_ms":5,"cause_id":"","day":"d","equity":"10.50","marks":[],'
        b'"midnight_at_ms":0,"opening":null,"rests_on":""}'
    )


def candidate(**changes: Any) -> Candidate:
    made = Candidate(
        signal_id="s",
        strategy="x",
        symbol="A",
        side=Side.LONG,
        score=0.1,
        close=1.0,
        stop_distance=1.0,
        target_distance=1.0,
        hold_ms=1,
        bar_opened_at_ms=0,
        bar_closed_at_ms=1,
    )
    return attrs.evolve(made, **changes)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"close": math.nan}, "Candidate.close"),
        ({"score": -math.inf}, "Candidate.score"),
        ({"close": np.float64("nan")}, "Candidate.close"),
        ({"features": (("z", 1.0), ("r", math.inf))}, r"Candidate.features\[1\]\[1\]"),
    ],
)
def test_a_number_that_is_not_finite_is_an_error_with_its_field(
    changes: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValueError, match=path):
        codec.encode(candidate(**changes))


@pytest.mark.parametrize("bad", ["NaN", "-Infinity", "sNaN", "Infinity"])
def test_a_decimal_that_is_not_finite_is_an_error(bad: str) -> None:
    with pytest.raises(ValueError, match=r"DayOpened\.equity"):
        codec.encode(events.DayOpened(at_ms=1, day="d", equity=Decimal(bad)))


def test_the_words_null_and_nan_in_a_text_are_valid() -> None:
    event = events.CancelRequested(at_ms=1, client_order_id="c", reason="NaN")
    assert codec.decode(events.CancelRequested, codec.encode(event)) == event
    event = events.CancelRequested(at_ms=1, client_order_id="c", reason="null")
    assert codec.decode(events.CancelRequested, codec.encode(event)) == event


def test_numpy_scalars_are_encoded_as_plain_numbers() -> None:
    plain, scalar = (
        candidate(close=1.5, hold_ms=7),
        candidate(close=np.float64(1.5), hold_ms=np.int64(7)),
    )
    assert codec.encode(plain) == codec.encode(scalar)


def test_arrays_are_encoded_the_same_whatever_their_byte_order_and_layout() -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    ranked = signals.ShardRanked(
        cycle_at_ms=1, shard=0, bar_closed_at_ms=1, close=values, columns=()
    )
    for other in (values.astype(">f8"), np.asfortranarray(values), values[::1, ::1]):
        assert codec.encode(attrs.evolve(ranked, close=other)) == codec.encode(ranked)


def test_a_type_without_an_encoding_is_an_error() -> None:
    with pytest.raises(TypeError, match="has no encoding"):
        codec.encode(candidate(proxy=object()))


@pytest.mark.parametrize(
    "close", [b"[1.0]", b'{"data":"","dtype":"<f8"}', b'{"data":"!","dtype":"<f8","shape":[0]}']
)
def test_a_body_with_an_invalid_array_raises_value_error(close: bytes) -> None:
    body = b'{"bar_closed_at_ms":1,"close":%s,"columns":[],"cycle_at_ms":1,"shard":0}' % close
    with pytest.raises(ValueError, match=r"array|base64"):
        codec.decode(signals.ShardRanked, body)


@attrs.frozen(kw_only=True)
class Foreign:
    when: complex


def test_a_type_without_an_encoding_is_not_decoded() -> None:
    with pytest.raises(ValueError, match="has no decoding"):
        codec.decode(Foreign, b'{"when":1}')


@pytest.mark.parametrize("body", [b"", b"{}", b'{"at_ms":"x","day":"d","equity":"1"}'])
def test_decoding_a_body_that_does_not_fit_its_event_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"day|at_ms|truncated|missing"):
        codec.decode(events.DayOpened, body)
