"""Row classes have the columns of the tables, and rows keep their values."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any, get_args, get_type_hints

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kamou.store
from kamou.core.kinds import FillReason, FillSource
from kamou.core.model import Denial, Figure, OrderSide
from kamou.data_directory.folder import MEMORY
from kamou.errors import UnreadableRecordError
from kamou.store import database
from kamou.store.record_rows import EquityMark, StrategySums
from kamou.store.rows import FillRow, TradeRow
from kamou.store.table_rows import (
    ROWID,
    columns_of,
    insert,
    insert_new,
    make_row,
    select,
    select_one,
    upsert,
)

PARTS = {EquityMark: "a page of the curve needs no starts of intervals"}
"""Row classes that have only a part of their table's columns, with the reason."""

WITHOUT_CLASS = {
    # table: why no class describes its rows
    "_sqlite_migrations": "sqlite-utils writes and reads it",
    "event": "a row is an event, its body the event's encoding",
    "detail": "a row is the bytes of one cycle; the journal's writer keeps the newest",
    "meta": "names and texts",
    "snapshot": "store/snapshots.py writes and checks the bytes of the book",
    "total": "names and numbers, changed by addition only",
}


def find_row_classes() -> Iterator[type[Any]]:
    for module in pkgutil.iter_modules(kamou.store.__path__, "kamou.store."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if cls.__module__ == module.name and attrs.has(cls) and hasattr(cls, "table"):
                yield cls


ROW_CLASSES = tuple(find_row_classes())
WHOLE = tuple(cls for cls in ROW_CLASSES if cls not in PARTS)
KEYED = tuple(cls for cls in WHOLE if hasattr(cls, "primary_key"))


@pytest.fixture(scope="module")
def fresh() -> Iterator[sqlite3.Connection]:
    connection = database.open_writer(MEMORY)
    yield connection
    connection.close()


@pytest.fixture
def cursor(fresh: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """Yield a cursor in a transaction, and roll it back after the test."""
    made = fresh.cursor()
    made.execute("BEGIN")
    yield made
    made.execute("ROLLBACK")


def columns_in(cursor: sqlite3.Cursor, table: str) -> dict[str, tuple[str, bool]]:
    """Return type and nullability of the columns that an insertion can write."""
    rows = cursor.execute(f"PRAGMA table_xinfo({table})").fetchall()
    return {
        name: (sql_type, not (not_null or in_key))
        for _, name, sql_type, not_null, _, in_key, hidden in rows
        if not hidden
    }


@pytest.mark.parametrize("cls", ROW_CLASSES)
def test_a_row_class_has_the_columns_of_its_table_with_their_types(
    cls: Any, cursor: sqlite3.Cursor
) -> None:
    expected = columns_in(cursor, cls.table)
    found = {c.name: (c.sql_type, c.nullable) for c in columns_of(cls) if c.name != ROWID}
    if cls in PARTS:
        expected = {name: expected[name] for name in found}
    assert found == expected


@pytest.mark.parametrize("cls", KEYED)
def test_the_key_of_a_row_class_is_the_primary_key_of_its_table(
    cls: type[Any], cursor: sqlite3.Cursor
) -> None:
    rows = cursor.execute(f"PRAGMA table_xinfo({cls.table})").fetchall()
    in_order = sorted((place, name) for _, name, _, _, _, place, _ in rows if place)
    assert tuple(name for _, name in in_order) == cls.primary_key


def test_every_table_has_one_whole_row_class_or_a_reason_to_have_none(
    cursor: sqlite3.Cursor,
) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = [name for (name,) in cursor.execute(query).fetchall()]
    assert sorted([cls.table for cls in WHOLE] + list(WITHOUT_CLASS)) == sorted(tables)


# --- values ----------------------------------------------------------------------------------

# Drawn from lists, because 20 columns of any text and number take too long to draw.
texts = st.sampled_from(["", "a", "\u00e9'\"", "null", "NaN", "1", "a\nb", "\0"])
floats = st.sampled_from([0.0, 1.0, -0.1, 1e300, 5e-324, 1 / 3])  # SQLite stores -0.0 as 0.0
DECIMALS = ("0", "-0.00", "0E-8", "1E+3", "1.50", "-7", "12345678901234567890.123456789012345678")
figures = st.builds(Figure, name=texts, value=texts)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.sampled_from([0, 1, -1, 7, 2**53 + 1, 2**63 - 1, -(2**63)]),
    float: floats,
    str: texts,
    bool: st.booleans(),
    D: st.sampled_from([D(text) for text in DECIMALS]),
    tuple[Figure, ...]: st.lists(figures, max_size=2).map(tuple),
    tuple[Denial, ...]: st.lists(
        st.builds(Denial, code=texts, figures=st.lists(figures, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    tuple[tuple[str, float], ...]: st.lists(st.tuples(texts, floats), max_size=2).map(tuple),
}
VALUES |= {kind | None: st.none() | values for kind, values in list(VALUES.items())[:5]}


def rows_of(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    fields = [field.name for field in attrs.fields(cls) if field.name != ROWID]
    return st.builds(cls, **{name: values_of(hints[name]) for name in fields})


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    if hint in VALUES:
        return VALUES[hint]
    kinds = get_args(hint) or (hint,)  # of an enum or None; st.sampled_from rejects others
    return st.one_of(*(st.none() if k is type(None) else st.sampled_from(k) for k in kinds))


def written(row: Any) -> list[str]:
    """Return the values as text, which tells 1.0 from 1.00 and 1 from True."""
    values = attrs.asdict(row, recurse=False)
    return [f"{name}={value!r}" for name, value in values.items() if name != ROWID]


@pytest.mark.parametrize("cls", WHOLE)
def test_an_inserted_row_is_selected_with_equal_values(
    cls: type[Any], fresh: sqlite3.Connection
) -> None:
    @settings(max_examples=30)
    @given(rows_of(cls))
    def check(row: Any) -> None:
        cursor = fresh.cursor()
        cursor.execute("BEGIN")
        try:
            insert(cursor, row)
            assert [written(each) for each in select(cursor, cls, "")] == [written(row)]
        finally:
            cursor.execute("ROLLBACK")

    check()


@pytest.mark.parametrize("cls", KEYED)
def test_an_upsert_replaces_all_values_of_the_row_with_its_key(
    cls: type[Any], fresh: sqlite3.Connection
) -> None:
    @settings(max_examples=20)
    @given(rows_of(cls), rows_of(cls))
    def check(one: Any, beside: Any) -> None:
        key = {name: getattr(one, name) for name in cls.primary_key}
        other = attrs.evolve(beside, **key)
        cursor = fresh.cursor()
        cursor.execute("BEGIN")
        try:
            upsert(cursor, one)
            upsert(cursor, other)
            assert [written(each) for each in select(cursor, cls, "")] == [written(other)]
            upsert(cursor, beside)
            is_same = all(getattr(beside, name) == value for name, value in key.items())
            assert len(select(cursor, cls, "")) == (1 if is_same else 2)
            assert not insert_new(cursor, one)
        finally:
            cursor.execute("ROLLBACK")

    check()


def test_an_upsert_keeps_the_rowid(cursor: sqlite3.Cursor) -> None:
    query = "SELECT strategy, rowid FROM strategy_total ORDER BY strategy"
    for name in ("a", "b"):
        upsert(cursor, StrategySums(strategy=name))
    before = cursor.execute(query).fetchall()
    upsert(cursor, StrategySums(strategy="a", trades=2))
    assert cursor.execute(query).fetchall() == before


def test_only_a_new_row_is_inserted_by_insert_new(cursor: sqlite3.Cursor) -> None:
    assert insert_new(cursor, StrategySums(strategy="a", trades=1))
    assert not insert_new(cursor, StrategySums(strategy="a", trades=2))
    found = select_one(cursor, StrategySums, "WHERE strategy = ?", "a")
    assert found == StrategySums(strategy="a", trades=1)


def test_a_stored_value_of_another_type_is_an_error(cursor: sqlite3.Cursor) -> None:
    insert(cursor, StrategySums(strategy="a"))
    cursor.execute("UPDATE strategy_total SET fees = 'much'")
    with pytest.raises(UnreadableRecordError, match=r"^table strategy_total: .*fees"):
        select(cursor, StrategySums, "")


# --- annotations -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [object, complex, Any, int | str, list[int], dict[str, int]])
def test_a_field_with_a_type_that_no_column_has_is_an_error(kind: Any) -> None:
    cls: Any = attrs.make_class("Odd", {"body": attrs.field(type=kind)}, frozen=True)
    cls.table = "meta"
    with pytest.raises(TypeError, match=r"Odd\.body: a column cannot have the type"):
        columns_of(cls)


def test_an_enum_is_stored_as_its_value_and_selected_as_the_enum(cursor: sqlite3.Cursor) -> None:
    insert(cursor, make_fill(side=OrderSide.SELL))
    assert cursor.execute("SELECT side, typeof(side) FROM fill").fetchone() == ("sell", "text")
    (found,) = select(cursor, FillRow, "")
    assert found.side is OrderSide.SELL


# --- rows of events --------------------------------------------------------------------------


def make_fill(side: OrderSide = OrderSide.BUY) -> FillRow:
    return FillRow(
        key="BTCUSDT:1",
        symbol="BTCUSDT",
        client_order_id="",
        trade_id=None,
        side=side,
        quantity=D("1.50"),
        price=D(2),
        fee=D(0),
        slippage=D(0),
        maker=False,
        reason=FillReason.ORDER,
        at_ms=5,
        source=FillSource.STREAM,
    )


def test_a_row_made_from_another_value_takes_its_fields_of_the_same_name() -> None:
    source = make_fill(side=OrderSide.SELL)
    row = make_row(FillRow, source, trade_id="t", source=FillSource.RECONCILE)
    assert row == attrs.evolve(source, trade_id="t", source=FillSource.RECONCILE)
    assert row.side is OrderSide.SELL


def test_a_stored_text_that_its_enum_does_not_have_is_an_error(cursor: sqlite3.Cursor) -> None:
    insert(cursor, make_fill())
    cursor.execute("UPDATE fill SET side = 'long'")
    with pytest.raises(UnreadableRecordError, match=r"^table fill: .*side.*; use the Kamou"):
        select(cursor, FillRow, "")


def test_a_decimal_becomes_a_float_in_a_row_with_a_float() -> None:
    @attrs.frozen
    class Result:
        strategy: str
        r: D

    assert make_row(StrategySums, Result("a", D("0.1"))).r == 0.1


def test_a_row_without_a_value_for_a_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="exit_reason"):
        make_row(TradeRow, make_fill())


# --- the projections -------------------------------------------------------------------------


def test_no_projection_writes_the_sql_of_an_insertion() -> None:
    folder = Path(kamou.store.__path__[0])
    files = [*folder.glob("proj*.py"), folder / "day_rows.py"]
    assert len(files) == 8
    for file in files:
        assert not re.search(r"\b(INSERT|REPLACE)\b|\.replace\(", file.read_text()), file.name
