"""Conversion of a column of times to UTC milliseconds, in one unit per file.

The first valid time decides the unit: whole seconds, milliseconds, microseconds or nanoseconds
since 1970 by its size, an ISO 8601 time with a zone, or an ISO 8601 time without a zone, which is
read as UTC. A later time in another unit is an error. A column whose type is that of timestamps or
dates needs no such decision.
"""

from __future__ import annotations

import re
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kamou.core.arrays import Ints
from kamou.core.market.bar_checks import EPOCH_MIN_MS
from kamou.errors import InvalidDataError
from kamou.store.cells import cast_cells, decode_dictionary, find_unfit, is_text, show_cell

ISO = re.compile(r"^\s*\d{4}-\d{2}-\d{2}")
ZONE = re.compile(r"[T ]\d{2}.*?([Zz]|[+-]\d{2}(:?\d{2})?| ?UTC)\s*$")  # after hours, not a date
SHORTENED = re.compile(r"^\s*\d(\.\d+)?[eE]\+?\d+\s*$")
TIME_EXPECTED = "a time in whole seconds, milliseconds, microseconds or nanoseconds, or in ISO 8601"


class TimeUnit(StrEnum):
    """How the times of a file are written."""

    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"
    ISO_ZONE = "ISO 8601 with a zone"
    ISO_UTC = "ISO 8601 without a zone, read as UTC"
    STAMPS = "timestamps"
    DATES = "dates"


NUMERIC = (
    TimeUnit.SECONDS,
    TimeUnit.MILLISECONDS,
    TimeUnit.MICROSECONDS,
    TimeUnit.NANOSECONDS,
)
# The earliest time of each unit; a number below the first is in no unit.
UNIT_BOUNDS = np.array(
    [EPOCH_MIN_MS // 1_000, EPOCH_MIN_MS, EPOCH_MIN_MS * 1_000, EPOCH_MIN_MS * 10**6]
)


class TimeColumn:
    """The times of one file, read batch by batch; ``unit`` is None until it is known."""

    def __init__(self, file: str, column: str) -> None:
        self.unit: TimeUnit | None = None
        self._file = file
        self._column = column

    def read(self, values: pa.Array, first_row: int) -> Ints:
        """Return a batch of times as UTC milliseconds; a date is its midnight.

        ``first_row`` is the number of the batch's first row in the file, from 1. Numbers too small
        for any unit stay unchanged, so that the checks of the rows find them.

        Raises:
            InvalidDataError: a cell is missing, is no time, is not a whole millisecond, or is in
                another unit than the times before it.
        """
        if values.null_count:
            at = int(np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False))[0])
            raise self._error(first_row + at, f"no {self._column}")
        values = decode_dictionary(values)
        if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
            dates = pa.types.is_date(values.type)
            self.unit = TimeUnit.DATES if dates else TimeUnit.STAMPS
            return self._numbers(values, first_row)
        if is_text(values.type):
            values = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
            if self.unit is None and len(values) and ISO.match(values[0].as_py()):
                zone = ZONE.search(values[0].as_py())
                self.unit = TimeUnit.ISO_UTC if zone is None else TimeUnit.ISO_ZONE
            if self.unit in (TimeUnit.ISO_ZONE, TimeUnit.ISO_UTC):
                return self._iso(values, first_row)
            values = pc.replace_substring_regex(values, r"^(\d+)\.0+$", r"\1")
        return self._scale(self._numbers(values, first_row), values, first_row)

    def _iso(self, values: pa.Array, first_row: int) -> Ints:
        kind = pa.timestamp("ns", "UTC" if self.unit is TimeUnit.ISO_ZONE else None)
        plain = pc.replace_substring_regex(values, r" ?UTC$", "Z")
        try:
            stamps = pc.cast(plain, kind)
        except pa.ArrowInvalid as error:
            at = find_unfit(plain, lambda part: pc.cast(part, kind))
            raise self._error(
                first_row + at, f"{self._column} is {show_cell(values, at)}, expected {self.unit}"
            ) from error
        return self._whole(np.asarray(stamps.cast(pa.int64())), 10**6, values, first_row)

    def _numbers(self, values: pa.Array, first_row: int) -> Ints:
        try:
            whole = cast_cells(values, pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            at = find_unfit(values, lambda part: cast_cells(part, pa.int64()))
            shown = show_cell(values, at)
            expected, cause = TIME_EXPECTED, ""
            if pa.types.is_timestamp(values.type):
                expected = "whole milliseconds in 64 bits"
            elif self.unit in NUMERIC:
                expected = f"whole {self.unit} in 64 bits, as in the rows before"
            if is_text(values.type) and SHORTENED.match(values[at].as_py()):
                cause = ", a number that a spreadsheet shortened; export the column as text"
            raise self._error(
                first_row + at, f"{self._column} is {shown}{cause}, expected {expected}"
            ) from error
        return np.asarray(whole.to_numpy(zero_copy_only=False), dtype=np.int64)

    def _scale(self, times: Ints, values: pa.Array, first_row: int) -> Ints:
        """Return numbers of the file's unit as ms; those of no unit stay unchanged.

        The first number that is of a unit decides the file's unit.

        Raises:
            InvalidDataError: a number is of another unit, or is not a whole millisecond.
        """
        unit = np.searchsorted(UNIT_BOUNDS, times, side="right")  # 0: no unit
        known = np.flatnonzero(unit)
        if self.unit is None and len(known):
            self.unit = NUMERIC[int(unit[known[0]]) - 1]
        if self.unit is None:
            return times
        own = NUMERIC.index(self.unit) + 1
        mixed = np.flatnonzero((unit != 0) & (unit != own))
        if len(mixed):
            at = int(mixed[0])
            raise self._error(
                first_row + at,
                f"{self._column} is {show_cell(values, at)}, in {NUMERIC[int(unit[at]) - 1]}, "
                f"expected {self.unit} as in the rows before",
            )
        if self.unit is TimeUnit.SECONDS:
            return np.where(unit == own, times * 1_000, times)
        if self.unit is TimeUnit.MILLISECONDS:
            return times
        divisor = 1_000 if self.unit is TimeUnit.MICROSECONDS else 10**6
        return self._whole(times, divisor, values, first_row)

    def _whole(self, times: Ints, divisor: int, values: pa.Array, first_row: int) -> Ints:
        """Return times over ``divisor``.

        Raises:
            InvalidDataError: ``divisor`` does not divide a time.
        """
        odd = np.flatnonzero(times % divisor)
        if len(odd):
            at = int(odd[0])
            raise self._error(
                first_row + at,
                f"{self._column} is {show_cell(values, at)}, not a whole millisecond",
            )
        return times // divisor

    def _error(self, row: int, reason: str) -> InvalidDataError:
        return InvalidDataError(f"{self._file}: row {row}: {reason}; correct or remove the row")
