"""Conversion of values into plain data for documents and for the book's state."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import snapshot
from kamou.core.plain import to_plain


class Color(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 2


@attrs.frozen(kw_only=True)
class Inner:
    price: Decimal
    color: Color | None


@attrs.frozen(kw_only=True)
class Outer:
    z: tuple[Inner, ...]
    a: dict[str, Any]


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


@given(decimals)
def test_a_document_has_every_digit_of_a_decimal_and_no_exponent(value: Decimal) -> None:
    text = to_plain(value)
    assert set(text) <= set("-.0123456789")
    assert Decimal(text) == value
    if value.as_tuple().exponent <= 0:  # type: ignore[operator]  # the drawn decimals are finite, so it is a number
        assert str(Decimal(text)) == str(value)  # trailing zeros are kept


def test_an_attrs_value_becomes_a_dict_in_the_order_of_its_fields() -> None:
    value = Outer(
        z=(Inner(price=Decimal("0E-3"), color=Color.RED), Inner(price=Decimal("1E+2"), color=None)),
        a={"on": True, "n": Level.HIGH, "x": 0.5, "list": [1, "a", None]},
    )
    assert json.dumps(to_plain(value)) == (
        '{"z": [{"price": "0.000", "color": "red"}, {"price": "100", "color": null}],'
        ' "a": {"on": true, "n": 2, "x": 0.5, "list": [1, "a", null]}}'
    )


def test_state_keeps_exponents_and_the_order_of_dicts() -> None:
    assert snapshot.dump_value({"b": Decimal("0E-8"), "a": Color.RED}) == (
        b'[["b","0E-8"],["a","red"]]'
    )
    assert snapshot.dump_value({"b": {}, "a": ()}) == b'[["b",[]],["a",[]]]'


@pytest.mark.parametrize("value", [1j, {1, 2}, b"bytes", object(), (1, {"a": [b""]})])
def test_a_value_of_an_unsupported_type_raises_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="plain data may not contain a"):
        to_plain(value)
