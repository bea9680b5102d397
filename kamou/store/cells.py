"""Conversion of a column of cells to numbers, times or ``Names``; checks of types.

An error has the file, the row and the column of the first bad cell.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kamou.core.arrays import Floats, Ints
from kamou.errors import InvalidDataError
from kamou.escaping import escape_text, show_text

NO_NAME = -1  # in ``Names.index``: the cell is empty


@attrs.frozen(kw_only=True, eq=False)
class Names:
    """A column of texts of one batch: row i has ``distinct[index[i]]``, or none."""

    distinct: tuple[str, ...]
    index: Ints
    first: Ints  # for each distinct text, the first row of the batch that has it


def is_text(kind: pa.DataType) -> bool:
    """Return True for texts and bytes, plain or dictionary-encoded."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def is_number(kind: pa.DataType, *, time: bool) -> bool:
    """Return True for types that can be read as numbers.

    If ``time`` is True, the types of dates and timestamps can be read as well.
    """
    if is_text(kind):
        return True
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if time and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return True
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def read_names(file: str, column: str, values: pa.Array, first_row: int) -> Names:
    """Return a column of texts as distinct texts and indices.

    Raises:
        InvalidDataError: a cell is not UTF-8.
    """
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    index = pc.fill_null(values.indices, NO_NAME).to_numpy(zero_copy_only=False).astype(np.int64)
    used, first, inverse = np.unique(index, return_index=True, return_inverse=True)
    texts: list[str | None] = []
    for place, row in zip(used.tolist(), first.tolist(), strict=True):
        cell = None if place == NO_NAME else values.dictionary[place].as_py()
        if isinstance(cell, bytes):
            try:
                cell = cell.decode()
            except UnicodeDecodeError as error:
                raise InvalidDataError(
                    f"{file}: row {first_row + row}: {column} is not UTF-8; correct the row"
                ) from error
        texts.append(cell)
    named = np.array([text is not None for text in texts], dtype=bool)
    place_of = np.where(named, np.cumsum(named) - 1, NO_NAME)
    return Names(
        distinct=tuple(text for text in texts if text is not None),
        index=place_of[inverse.reshape(-1)],
        first=first[named],
    )


def read_times(file: str, column: str, values: pa.Array, first_row: int) -> Ints:
    """Return a column of times as UTC milliseconds; a date stands for its midnight.

    Raises:
        InvalidDataError: a cell is missing or is not a 64-bit number of whole milliseconds.
    """
    if values.null_count:
        at = int(np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False))[0])
        raise InvalidDataError(
            f"{file}: row {first_row + at}: no {column}; correct or remove the row"
        )
    times = _convert(file, column, values, pa.int64(), first_row)
    return np.asarray(times.to_numpy(zero_copy_only=False), dtype=np.int64)


def read_floats(file: str, column: str, values: pa.Array, first_row: int) -> Floats:
    """Return a column of numbers; a missing cell is NaN.

    Raises:
        InvalidDataError: a cell is not a number.
    """
    floats = _convert(file, column, values, pa.float64(), first_row)
    found: npt.NDArray[Any] = floats.to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype=np.float64)


def _convert(
    file: str, column: str, values: pa.Array, kind: pa.DataType, first_row: int
) -> pa.Array:
    try:
        return _cast(values, kind)
    # Arrow raises the second error if it has no cast between two types, such as binary to float.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        at = _find_unfit(values, kind)
        raise InvalidDataError(
            f"{file}: row {first_row + at}: {column} is {_show_cell(values, at)}, not "
            f"{'whole milliseconds in 64 bits' if kind == pa.int64() else 'a number'}; "
            "correct the row"
        ) from error


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        return pc.take(_cast(values.dictionary, kind), values.indices)
    if is_text(values.type):
        values = pc.cast(values, pa.string())
    elif pa.types.is_decimal(values.type) and pa.types.is_floating(kind):
        values = pc.cast(values, pa.string())  # Arrow's own cast is off by a last bit
    elif pa.types.is_date(values.type):
        values = pc.cast(values, pa.timestamp("ms"))
    elif pa.types.is_timestamp(values.type):
        values = pc.cast(values, pa.timestamp("ms", tz=values.type.tz))
    return pc.cast(values, kind)


def _find_unfit(values: pa.Array, kind: pa.DataType) -> int:
    """Return the index of the first cell that does not convert, by bisection."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _cast(_decode_dictionary(values.slice(low, middle - low)), kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # as in _convert
            high = middle
        else:
            low = middle
    return low


def _decode_dictionary(values: pa.Array) -> pa.Array:
    """Return plain values, without dictionary entries that only other rows use."""
    if not pa.types.is_dictionary(values.type):
        return values
    return pc.take(values.dictionary, values.indices)


def _show_cell(values: pa.Array, at: int) -> str:
    cell = _decode_dictionary(values.slice(at, 1))[0]
    if is_text(cell.type):
        text = cell.as_py()
        return show_text(text.decode(errors="replace") if isinstance(text, bytes) else text)
    return escape_text(str(cell.cast(pa.string(), safe=False)), chars_max=60)
