"""Rows of tables as instances of classes: their columns, selection and insertion.

A row class is a frozen attrs class with the name of its table. Its fields are columns of the table,
with their types. This module makes the SQL of a class once, and converts the values of its columns.
``store/rows.py`` and ``store/record_rows.py`` have the row classes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType, NoneType, UnionType
from typing import Any, ClassVar, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from kamou.core.plain import cache_by_type
from kamou.errors import UnreadableRecordError
from kamou.messages.codec import encode

COLUMN = "column"
"""Key of a field's metadata: the column's name if it is not the field's.

An underscore at the end of a field's name, as in ``return_``, is not part of the column's name.
"""

ROWID = "rowid"  # a column that SQLite gives to each row; no insertion writes it


class TableRow(attrs.AttrsInstance, Protocol):
    """A row of the table of its class."""

    table: ClassVar[str]


class KeyedRow(TableRow, Protocol):
    """A row whose class names the columns of the table's primary key, for ``upsert``."""

    primary_key: ClassVar[tuple[str, ...]]


R = TypeVar("R", bound=TableRow)
Reader = sqlite3.Connection | sqlite3.Cursor
SqlValue = str | int | float | bytes | None
Change = Callable[[Any], Any]


def _decode_json(text: str) -> object:
    return msgspec.json.decode(text)


def _encode_json(value: object) -> str:
    """Encode figures, denials or features as JSON, as in the event."""
    return encode(value).decode()


class SqlType(StrEnum):
    """The type of a column in a table."""

    INTEGER = "INTEGER"
    REAL = "REAL"
    TEXT = "TEXT"
    BLOB = "BLOB"


@attrs.frozen(kw_only=True)
class _Kind:
    """The conversions of columns with one annotation; None leaves values unchanged."""

    sql_type: SqlType
    to_sql: Change | None = None  # of a value of the field
    from_sql: Change | None = None  # before msgspec converts it to the annotation
    from_field: Change | None = None  # of a field of that name of another class; see ``make_row``


_KINDS: Mapping[object, _Kind] = MappingProxyType(
    {
        int: _Kind(sql_type=SqlType.INTEGER),
        float: _Kind(sql_type=SqlType.REAL, from_field=float),
        str: _Kind(sql_type=SqlType.TEXT),
        bytes: _Kind(sql_type=SqlType.BLOB),
        bool: _Kind(sql_type=SqlType.INTEGER, to_sql=int, from_sql=bool),
        Decimal: _Kind(sql_type=SqlType.TEXT, to_sql=str),
    }
)
_ENUM = _Kind(sql_type=SqlType.TEXT, to_sql=str)
_JSON = _Kind(sql_type=SqlType.TEXT, to_sql=_encode_json, from_sql=_decode_json)


@attrs.frozen(kw_only=True)
class Column:
    """A column of a table, from a field of a row class."""

    field: str
    name: str
    sql_type: SqlType
    nullable: bool
    to_sql: Change | None  # of a value that is not None; None: as is
    from_sql: Change | None
    from_field: Change | None


@attrs.frozen(kw_only=True)
class _Statements:
    """The SQL and the conversions of one row class."""

    fields: tuple[str, ...]
    from_sql: tuple[tuple[str, Change], ...]  # by field
    rows: object  # ``tuple[cls, ...]``
    read: Callable[[TableRow], list[Any]]  # the values of the stored fields
    to_sql: tuple[tuple[int, Change], ...]  # by place among the stored fields
    select: str
    insert: str
    insert_new: str
    upsert: str


@cache_by_type
def columns_of(cls: type) -> tuple[Column, ...]:
    """Return the columns of a row class, in the order of its fields.

    Raises:
        TypeError: a field has an annotation that no column can have.
    """
    hints = get_type_hints(cls)
    return tuple(_column(cls, field, hints[field.name]) for field in attrs.fields(cls))


def _column(cls: type, field: attrs.Attribute[Any], hint: object) -> Column:
    nullable, inner = _split_none(hint)
    kind = _find_kind(inner)
    if kind is None:
        raise TypeError(
            f"{cls.__name__}.{field.name}: a column cannot have the type {hint}; use int, float, "
            "str, bytes, bool, Decimal, a text enum or a tuple, or one of these or None"
        )
    return Column(
        field=field.name,
        name=field.metadata.get(COLUMN, field.name.removesuffix("_")),
        sql_type=kind.sql_type,
        nullable=nullable,
        to_sql=kind.to_sql,
        from_sql=kind.from_sql,
        from_field=kind.from_field,
    )


def _split_none(hint: object) -> tuple[bool, object]:
    """Return whether a type admits None, and the type without None."""
    if get_origin(hint) not in (Union, UnionType):
        return False, hint
    others = [each for each in get_args(hint) if each is not NoneType]
    return len(others) < len(get_args(hint)), others[0] if len(others) == 1 else hint


def _find_kind(hint: object) -> _Kind | None:
    if get_origin(hint) is tuple:
        return _JSON
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _ENUM
    return _KINDS.get(hint)


@cache_by_type
def _statements(cls: type[TableRow]) -> _Statements:
    columns = columns_of(cls)
    stored = tuple(column for column in columns if column.name != ROWID)
    names = ", ".join(f'"{column.name}"' for column in stored)
    values = f"{cls.table} ({names}) VALUES ({', '.join('?' * len(stored))})"
    key: tuple[str, ...] = getattr(cls, "primary_key", ())
    changed = [column.name for column in stored if column.name not in key]
    excluded = ", ".join(f'"{name}" = excluded."{name}"' for name in changed)
    everything = ", ".join(f'"{column.name}"' for column in columns)
    return _Statements(
        fields=tuple(column.field for column in columns),
        from_sql=tuple((c.field, c.from_sql) for c in columns if c.from_sql is not None),
        rows=tuple[cls, ...],  # type: ignore[valid-type]  # a value for msgspec
        read=_make_reader([column.field for column in stored]),
        to_sql=tuple((i, c.to_sql) for i, c in enumerate(stored) if c.to_sql is not None),
        select=f"SELECT {everything} FROM {cls.table} ",
        insert=f"INSERT INTO {values}",
        insert_new=f"INSERT OR IGNORE INTO {values}",
        upsert=f"INSERT INTO {values} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {excluded}",
    )


def _make_reader(fields: Sequence[str]) -> Callable[[TableRow], list[Any]]:
    get = attrgetter(*fields)
    return (lambda row: [get(row)]) if len(fields) == 1 else (lambda row: list(get(row)))


# --- selection -----------------------------------------------------------------


def select(reader: Reader, cls: type[R], tail: str, *parameters: SqlValue) -> tuple[R, ...]:
    """Return rows of the table of ``cls`` as its instances.

    ``tail`` is the SQL after the table's name; ``parameters`` are bound to it.

    Raises:
        UnreadableRecordError: a stored value does not have the type of its field.
    """
    made = _statements(cls)
    found = reader.execute(made.select + tail, parameters).fetchall()
    try:
        rows = [_by_field(made, row) for row in found]
        selected: tuple[R, ...] = msgspec.convert(rows, made.rows)
    except ValueError as error:
        raise UnreadableRecordError(f"table {cls.table}", error) from error
    return selected


def select_one(reader: Reader, cls: type[R], tail: str, *parameters: SqlValue) -> R | None:
    """Return the first row that ``select`` finds; None if there is none.

    Raises:
        UnreadableRecordError: as ``select``.
    """
    made = _statements(cls)
    found = reader.execute(made.select + tail, parameters).fetchall()
    try:
        return msgspec.convert(_by_field(made, found[0]), cls) if found else None
    except ValueError as error:
        raise UnreadableRecordError(f"table {cls.table}", error) from error


def _by_field(made: _Statements, row: tuple[Any, ...]) -> dict[str, Any]:
    """Return the values of a row by field, for msgspec."""
    values = dict(zip(made.fields, row, strict=True))
    for field, change in made.from_sql:
        if values[field] is not None:
            values[field] = change(values[field])
    return values


# --- insertion -----------------------------------------------------------------


def insert(cursor: sqlite3.Cursor, row: TableRow) -> None:
    """Insert a row into its table.

    Raises:
        sqlite3.IntegrityError: the table has a row with its key.
    """
    made = _statements(type(row))
    cursor.execute(made.insert, _to_sql(made, row))


def insert_many(cursor: sqlite3.Cursor, rows: Sequence[TableRow]) -> None:
    """Insert rows of one class as ``insert`` does; do nothing if ``rows`` is empty."""
    if rows:
        made = _statements(type(rows[0]))
        cursor.executemany(made.insert, [_to_sql(made, row) for row in rows])


def insert_many_new(cursor: sqlite3.Cursor, rows: Sequence[TableRow]) -> None:
    """Insert those rows of one class whose keys the table does not have."""
    if rows:
        made = _statements(type(rows[0]))
        cursor.executemany(made.insert_new, [_to_sql(made, row) for row in rows])


def insert_new(cursor: sqlite3.Cursor, row: TableRow) -> bool:
    """Insert a row unless the table has its key; return True if it was inserted."""
    made = _statements(type(row))
    cursor.execute(made.insert_new, _to_sql(made, row))
    return bool(cursor.rowcount)


def upsert(cursor: sqlite3.Cursor, row: KeyedRow) -> None:
    """Insert a row, or update all other columns of the row with its key.

    An updated row keeps its ``rowid``.
    """
    made = _statements(type(row))
    cursor.execute(made.upsert, _to_sql(made, row))


def _to_sql(made: _Statements, row: TableRow) -> list[SqlValue]:
    values = made.read(row)
    for i, change in made.to_sql:
        if values[i] is not None:
            values[i] = change(values[i])
    return values


# --- rows of events ------------------------------------------------------------


def make_row(cls: type[R], source: object, /, **given: object) -> R:
    """Return a row with the fields of ``source`` of the same names, and ``given``.

    A value in ``given`` replaces that of ``source``. A number of ``source`` becomes a float in a
    field of type float. All other values, and all those in ``given``, are taken as they are.

    Raises:
        TypeError: ``source`` and ``given`` both lack a field of ``cls`` that has no default.
    """
    values = dict(given)
    for column in _shared_columns(cls, type(source)):
        if column.field not in given:
            value = getattr(source, column.field)
            if column.from_field is not None and value is not None:
                value = column.from_field(value)
            values[column.field] = value
    return cls(**values)


@cache_by_type
def _shared_columns(cls: type, source: type) -> tuple[Column, ...]:
    names = {field.name for field in attrs.fields(source)} | set(dir(source))
    return tuple(column for column in columns_of(cls) if column.field in names)
