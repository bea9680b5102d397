"""``Budget``: counts and limits of reading the files of an import; default limits.

The limits are the ``data.*`` settings. Reading fails before a file is decompressed if its size is
known, otherwise at the part that exceeds the limit.
"""

from __future__ import annotations

import attrs

from kamou.errors import InvalidDataError
from kamou.settings.config import DataSettings

MEGABYTE = 1_000_000
DEFAULT_LIMITS = DataSettings()


@attrs.define(kw_only=True)
class Budget:
    """Rows, decompressed bytes and symbols of the files that were read so far.

    ``wide_tables.read_wide`` counts each file in a copy of the budget, so one such file does not
    count towards the limits of the next.
    """

    limits: DataSettings
    rows: int = 0
    unpacked_bytes: int = 0
    symbols: set[str] = attrs.field(factory=set)

    def take_rows(self, file: str, count: int) -> None:
        """Count rows of ``file``.

        Raises:
            InvalidDataError: the files have more than ``data.rows_max`` rows.
        """
        self.rows += count
        if self.rows > self.limits.rows_max:
            raise _limit_error(file, f"{self.limits.rows_max:,} rows", "rows_max")

    def take_unpacked(self, file: str, count: int) -> None:
        """Count decompressed bytes of ``file``.

        Raises:
            InvalidDataError: the files have more than ``data.unpacked_mb_max`` decompressed MB.
        """
        self.unpacked_bytes += count
        if self.unpacked_bytes > self.limits.unpacked_mb_max * MEGABYTE:
            raise _limit_error(
                file, f"{self.limits.unpacked_mb_max:,} MB unpacked", "unpacked_mb_max"
            )

    def take_symbol(self, file: str, symbol: str) -> None:
        """Count a symbol once.

        Raises:
            InvalidDataError: the files have more than ``data.symbols_max`` symbols.
        """
        self.symbols.add(symbol)
        if len(self.symbols) > self.limits.symbols_max:
            raise _limit_error(file, f"{self.limits.symbols_max:,} symbols", "symbols_max")

    def check_columns(self, file: str, count: int) -> None:
        """Raise ``InvalidDataError`` if one file has too many columns.

        The limit is ``data.columns_max``, or one more than ``data.symbols_max`` for a file that
        ``wide_tables.read_wide`` reads.
        """
        if count > self.limits.columns_max:
            raise InvalidDataError(
                f"{file}: more than {self.limits.columns_max:,} columns (setting "
                f"data.columns_max): {count:,}; remove some, or raise the setting if you trust the "
                "file (for a series of a dataset, the setting data.symbols_max)"
            )

    def check_cells(self, what: str, rows: int, columns: int) -> None:
        """Raise ``InvalidDataError`` if a grid has more than ``data.cells_max`` cells."""
        if rows * columns > self.limits.cells_max:
            raise InvalidDataError(
                f"{what}: {rows:,} times of {columns:,} symbols make more than "
                f"{self.limits.cells_max:,} cells (setting data.cells_max), the dataset limit; "
                "look for a wrong date first, else import less time or raise the setting"
            )


def _limit_error(file: str, limit: str, setting: str) -> InvalidDataError:
    return InvalidDataError(
        f"{file}: the files read so far have more than {limit} (setting data.{setting}); "
        "import fewer files, or raise the setting if you trust their source"
    )
