"""Conversion of a column of cells to numbers or ``Names``; checks of types.

An error has the file, the row and the column of the first bad cell.
"""

from __future__ import annotations

from collections.abc import Callable
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

    Args:
        file: the file's name, for the error.
        column: the column's name, for the error.
        values: the cells of one batch.
        first_row: number of the batch's first row in the file, from 1.

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


def read_floats(
    file: str, column: str, values: pa.Array, first_row: int, *, decimal_comma: bool = False
) -> Floats:
    """Return a column of numbers; a missing cell is NaN.

    Args:
        file: the file's name, for the error.
        column: the column's name, for the error.
        values: the cells of one batch; blanks around a number are allowed.
        first_row: number of the batch's first row in the file, from 1.
        decimal_comma: the cells are texts with a comma before the decimals.

    Raises:
        InvalidDataError: a cell is not a number.
    """
    try:
        floats = cast_cells(_point(values, decimal_comma=decimal_comma), pa.float64())
    # Arrow raises the second error if it has no cast between two types, such as binary to float.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cells = values
        if is_text(values.type):  # blanks around a number are no part of it
            cells = pc.utf8_trim_whitespace(pc.cast(decode_dictionary(values), pa.string()))
        cells = _point(cells, decimal_comma=decimal_comma)
        try:
            floats = cast_cells(cells, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            at = find_unfit(cells, lambda part: cast_cells(part, pa.float64()))
            raise InvalidDataError(
                f"{file}: row {first_row + at}: {column} is {show_cell(values, at)}, not a number"
                f"{' with a decimal comma' * decimal_comma}; correct the row"
            ) from error
    found: npt.NDArray[Any] = floats.to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype=np.float64)


def _point(values: pa.Array, *, decimal_comma: bool) -> pa.Array:
    """Return the cells with a decimal point in place of a decimal comma.

    A cell that already has a point becomes invalid, because it has thousands or is no number.
    """
    if not decimal_comma:
        return values
    return pc.replace_substring(pc.replace_substring(values, ".", "?"), ",", ".")


def cast_cells(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the cells as another type, without loss.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: a cell or its type cannot be converted.
    """
    if pa.types.is_dictionary(values.type):
        return pc.take(cast_cells(values.dictionary, kind), values.indices)
    if is_text(values.type):
        values = pc.cast(values, pa.string())
    elif pa.types.is_decimal(values.type) and pa.types.is_floating(kind):
        values = pc.cast(values, pa.string())  # Arrow's own cast is off by a last bit
    elif pa.types.is_date(values.type):
        values = pc.cast(values, pa.timestamp("ms"))
    elif pa.types.is_timestamp(values.type):
        values = pc.cast(values, pa.timestamp("ms", tz=values.type.tz))
    return pc.cast(values, kind)


def find_unfit(values: pa.Array, convert: Callable[[pa.Array], object]) -> int:
    """Return the index of the first cell for which ``convert`` fails, by bisection."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            convert(decode_dictionary(values.slice(low, middle - low)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # as in the caller
            high = middle
        else:
            low = middle
    return low


def decode_dictionary(values: pa.Array) -> pa.Array:
    """Return plain values, without dictionary entries that only other rows use."""
    if not pa.types.is_dictionary(values.type):
        return values
    return pc.take(values.dictionary, values.indices)


def show_cell(values: pa.Array, at: int) -> str:
    """Return a cell as an error shows it: escaped and cut to 60 characters."""
    cell = decode_dictionary(values.slice(at, 1))[0]
    if is_text(cell.type):
        text = cell.as_py()
        return show_text(text.decode(errors="replace") if isinstance(text, bytes) else text)
    try:
        text = str(cell.cast(pa.string(), safe=False))
    except (pa.ArrowException, ValueError, OSError):  # such as a zone that does not exist
        text = f"{getattr(cell, 'value', None)} as {cell.type}"
    return escape_text(text, chars_max=60)
