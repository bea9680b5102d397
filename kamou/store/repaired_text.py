"""The bytes of a file of text, repaired so that Arrow reads them as one table.

The repairs: a byte order mark is removed; lone carriage returns become line ends; a header with one
delimiter more or less than its rows is made to fit; repeated headers between rows (of files that
were joined) and rows without a value at the end are left out; JSON arrays become lines. Nothing
else changes.
"""

from __future__ import annotations

import io
from typing import BinaryIO

from kamou.store.text_dialects import BYTE_ORDER_MARK, Dialect, Writing

CHUNK_BYTES = 1 << 18
HELD_BYTES_MAX = 1 << 16  # of rows without a value, which only the end of the file shows to be last


class RepairedText(io.RawIOBase):
    """The repaired bytes of ``raw``, read once from its start.

    ``headers_dropped`` counts the headers that stood between rows.
    """

    def __init__(self, raw: BinaryIO, dialect: Dialect) -> None:
        super().__init__()
        self._raw = raw
        self._dialect = dialect
        self._begun = self._ended = False
        self._rest = b""  # an unfinished line, not repaired yet
        self._held = b""  # rows without a value, repaired
        self._ready = b""
        self._last = b""  # the last two bytes of JSON, without blanks
        self.headers_dropped = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    @property
    def is_cut(self) -> bool:
        """Return True if JSON that was read whole lacks its end."""
        return self._dialect.writing is Writing.ARRAYS and self._last != b"]]"

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # it writes bytes only
        """Fill the buffer with repaired bytes; return their number, 0 at the end."""
        while not self._ready and not self._ended:
            self._ready = self._next_part()
        part = self._ready[: len(buffer)]
        self._ready = self._ready[len(part) :]
        buffer[: len(part)] = part
        return len(part)

    def _next_part(self) -> bytes:
        chunk = self._raw.read(CHUNK_BYTES)
        self._ended = not chunk
        data = self._rest + self._unify(chunk)
        if not self._begun:
            if len(data) < len(BYTE_ORDER_MARK) and not self._ended:
                self._rest = data
                return b""
            data = data.removeprefix(BYTE_ORDER_MARK)
        if self._ended:
            self._rest = b""
        else:
            end = data.rfind(b"\n") + 1
            if not end:  # a long line, for which the reader of the lines raises
                self._rest = data[-1:] if len(data) > CHUNK_BYTES else data
                return data[:-1] if len(data) > CHUNK_BYTES else b""
            data, self._rest = data[:end], data[end:]
        return self._hold_empty_rows(self._repair_headers(data))

    def _unify(self, chunk: bytes) -> bytes:
        """Return the chunk with each row on a line of its own."""
        if self._dialect.writing is Writing.LONE_RETURNS:
            return chunk.replace(b"\r", b"\n")
        if self._dialect.writing is Writing.ARRAYS:
            # Numbers and quoted numbers only: the brackets and blanks are no part of a value.
            compact = chunk.translate(None, b" \t\r\n")
            self._last = (self._last + compact[-2:])[-2:]
            return compact.replace(b"[", b"").replace(b"]", b"\n")
        return chunk

    def _repair_headers(self, data: bytes) -> bytes:
        """Repair the first header and leave out later ones; data is whole lines."""
        header, dialect = self._dialect.first_line, self._dialect
        if dialect.writing is Writing.ARRAYS:  # "],[" leaves a comma before the next row
            return (b"\n" + data).replace(b"\n,", b"\n")[1:]
        if dialect.names is None or not header:
            self._begun = self._begun or bool(data)
            return data
        start = b"\n"
        if not self._begun and data:
            self._begun = True
            start = self._repair_end(header)
            data = data[len(header) :]
        else:
            data = start + data
        for line_end in (b"\n", b"\r\n"):
            again = b"\n" + header + line_end
            while again in data:  # a replacement may join two more
                self.headers_dropped += data.count(again)
                data = data.replace(again, b"\n")
        return data[1:] if start == b"\n" else start + data

    def _repair_end(self, header: bytes) -> bytes:
        delimiter = self._dialect.delimiter.encode()
        if self._dialect.trailing:
            return header + delimiter
        return header.removesuffix(delimiter) if self._dialect.cut_header else header

    def _hold_empty_rows(self, data: bytes) -> bytes:
        """Return whole lines without the last ones that have no value, which are held."""
        blank = b" \t\r\n" + self._dialect.delimiter.encode()
        kept = data.rstrip(blank)
        end = data.find(b"\n", len(kept)) + 1 if kept else 0
        end = end or (len(data) if kept else 0)
        # The last row with a value ends with its own line.
        out, tail = data[:end], data[end:]
        if out:
            out, self._held = self._held + out, b""
        self._held += tail
        if len(self._held) > HELD_BYTES_MAX:
            out, self._held = out + self._held, b""
        return out
