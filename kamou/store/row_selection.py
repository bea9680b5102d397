"""Selection of a table's rows as instances of a class, and parsing of figures.

``store/rows.py`` has most of these classes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import attrs

from kamou.core.model import Denial, Figure

R = TypeVar("R", bound=attrs.AttrsInstance)


def parse_figures(pairs: list[dict[str, str]]) -> tuple[Figure, ...]:
    """Return the figures of a decoded JSON list of ``{"name": ..., "value": ...}``."""
    return tuple(Figure(name=pair["name"], value=pair["value"]) for pair in pairs)


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "Decimal": Decimal,
    "Decimal | None": lambda text: None if text is None else Decimal(text),
    "bool": bool,
    "tuple[tuple[str, float], ...]": lambda text: tuple(
        (name, float(value)) for name, value in json.loads(text)
    ),
    "tuple[Denial, ...]": lambda text: tuple(
        Denial(code=d["code"], figures=parse_figures(d["figures"])) for d in json.loads(text)
    ),
    "tuple[Figure, ...]": lambda text: parse_figures(json.loads(text)),
}
_COLUMN: Mapping[str, str] = {"return_": '"return"', "denials": "codes"}
"""Field -> column, where their names differ."""


def select(
    reader: sqlite3.Connection | sqlite3.Cursor,
    cls: type[R],
    table: str,
    tail: str,
    *parameters: Any,
) -> tuple[R, ...]:
    """Return rows of ``table`` as instances of ``cls``, whose fields name the columns.

    ``tail`` is the SQL after the table's name; ``parameters`` are bound to it.
    """
    fields = attrs.fields(cls)
    columns = ", ".join(_COLUMN.get(f.name, f'"{f.name}"') for f in fields)
    found = reader.execute(f"SELECT {columns} FROM {table} {tail}", parameters).fetchall()
    names = [f.name for f in fields]
    converters = [(i, _CONVERTERS[f.type]) for i, f in enumerate(fields) if f.type in _CONVERTERS]
    rows = []
    for row in found:
        values = list(row)
        for i, converter in converters:
            values[i] = converter(values[i])
        rows.append(cls(**dict(zip(names, values, strict=True))))
    return tuple(rows)


def select_one(
    reader: sqlite3.Connection | sqlite3.Cursor,
    cls: type[R],
    table: str,
    tail: str,
    *parameters: Any,
) -> R | None:
    """Return the first row that ``select`` finds; None if there is none."""
    found = select(reader, cls, table, tail, *parameters)
    return found[0] if found else None
