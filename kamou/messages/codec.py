"""Canonical JSON of events and messages, and the names of event kinds.

Each value has one encoding and decodes without loss. Keys are sorted, without spaces, in UTF-8.
``Decimal`` is the exact string of its digits and exponent; enums go by value, tuples as arrays,
bytes as base64, floats in the shortest form that reads back equal. A numpy array is ``{"data":
base64 of its little-endian C-order bytes, "dtype", "shape"}``, so NaN and infinity inside arrays
survive bit for bit. A scalar float or Decimal that is not finite is invalid: in a market array NaN
means "unknown", but in an event it is a defect.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
import msgspec
import numpy as np

from kamou.core.book.event_kinds import EVENTS
from kamou.core.book.events import Event
from kamou.core.plain import cache_by_type

T = TypeVar("T")

# What msgspec writes for floats and Decimals that are not finite. A match needs a closer check,
# because ``None`` and the text "NaN" are valid.
_SUSPICIOUS = (b"null", b"NaN", b"Infinity")


def kind_of(cls: type) -> str:
    """Return the stored name of a class: ``permit_granted`` for ``PermitGranted``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


KINDS: Mapping[type[Event], str] = MappingProxyType({cls: kind_of(cls) for cls in EVENTS})
EVENT_OF_KIND: Mapping[str, type[Event]] = MappingProxyType({k: c for c, k in KINDS.items()})
assert len(EVENT_OF_KIND) == len(EVENTS), f"two of these share a kind: {sorted(KINDS.values())}"


def encode(value: object) -> bytes:
    """Return the canonical encoding of an event, a message or a part of them.

    Raises:
        ValueError: a scalar float or Decimal is NaN or infinite; the message has its path.
        TypeError: a value in it has a type without an encoding.
    """
    body = _ENCODER.encode(value)
    null, nan, infinity = _SUSPICIOUS
    if null in body or nan in body or infinity in body:
        for path, number in _non_finite(value, type(value).__name__):
            raise ValueError(f"{path} is {number}; a stored number must be finite")
    return body


def decode(cls: type[T], body: bytes) -> T:
    """Return the value whose encoding is ``body``.

    Raises:
        ValueError: ``body`` is not JSON, lacks a field, or has a field of a wrong type; the message
            has the path of the field.
    """
    decoded: T = _decoder(cls).decode(body)
    return decoded


def make_decoders() -> None:
    """Make the decoders of all events now instead of at their first use.

    Together they take about 50 ms of CPU time, which would block the loop during a start.
    """
    for cls in EVENTS:
        _decoder(cls)


def decode_event(kind: str, body: bytes) -> Event:
    """Return the event of this kind whose encoding is ``body``.

    Raises:
        KeyError: this version does not know the kind.
        ValueError: as ``decode``.
    """
    return decode(EVENT_OF_KIND[kind], body)


def _encode_other(value: object) -> object:
    """Return numpy arrays and scalars as plain data, for msgspec.

    Raises:
        TypeError: the value is neither.
    """
    if isinstance(value, np.ndarray):
        # ascontiguousarray would make a 0-d array 1-d; tobytes is C order for any layout.
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        return {
            "data": base64.b64encode(little.tobytes()).decode(),
            "dtype": little.dtype.str,
            "shape": list(value.shape),
        }
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"{type(value).__name__} has no encoding: {value!r:.80}; use numbers, texts, enums, "
        "tuples, numpy arrays or frozen attrs classes of these"
    )


def _decode_other(cls: object, value: object) -> object:
    """Return a numpy array from its plain data, for msgspec.

    Args:
        cls: the generic alias of the annotation.
        value: the decoded JSON.

    Raises:
        ValueError, TypeError: ``cls`` is no array type, or ``value`` is no encoding of an array.
    """
    if getattr(cls, "__origin__", cls) is not np.ndarray:
        raise ValueError(f"{cls} has no decoding: the value is {value!r:.80}")
    if not isinstance(value, dict) or value.keys() != {"data", "dtype", "shape"}:
        raise ValueError(f"expected an array with data, dtype and shape, got {value!r:.80}")
    flat = np.frombuffer(base64.b64decode(value["data"], validate=True), value["dtype"])
    return flat.reshape(value["shape"]).astype(flat.dtype.newbyteorder("="))


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_other, order="sorted")


@cache_by_type
def _decoder(cls: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls, dec_hook=_decode_other)


def _non_finite(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield every scalar in ``value`` that is not finite, with its path."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield path, value
    elif isinstance(value, Decimal):
        if not value.is_finite():
            yield path, value
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _non_finite(item, f"{path}[{i}]")
    else:
        for name in _fields(type(value)):
            yield from _non_finite(getattr(value, name), f"{path}.{name}")


@cache_by_type
def _fields(cls: type) -> tuple[str, ...]:
    """Return the field names of an attrs class; none for another class."""
    return tuple(field.name for field in attrs.fields(cls)) if attrs.has(cls) else ()
