"""Sizes in an Arrow IPC file, read before Arrow reads the file.

Arrow allocates the unpacked length that stands before each packed buffer. So the footer, the header
of each batch and these lengths are read and checked first. ``File.fbs`` and ``Message.fbs`` of the
Arrow format define the tables and field numbers; the encoding is FlatBuffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

from kamou.store.parquet_pages import ReadAt
from kamou.store.thrift_compact import MalformedError

MAGIC = b"ARROW1"
ARROW_TAIL_BYTES = 4 + len(MAGIC)  # the length of the footer, and the magic
ARROW_FOOTER_BYTES_MAX = 8 << 20
MESSAGE_BYTES_MAX = 1 << 20  # the header of a batch of 1,000 columns has 60 KB
BATCHES_MAX = 100_000
CONTINUATION = 0xFFFFFFFF
RECORD_BATCH, DICTIONARY_BATCH = 3, 2  # kinds of a message's header
STORED = -1  # in place of the unpacked length of a buffer that is not packed
CELL_BYTES_MAX = 128  # of a number or a short text, with its offset and validity
SLACK_BYTES = 4_096  # allowance for the padding of small buffers
BLOCK = struct.Struct("<qi4xq")
BUFFER = struct.Struct("<qq")


@attrs.frozen(kw_only=True)
class BatchSize:
    """The size of one batch of rows, or of one dictionary of texts."""

    rows: int
    unpacked: int  # bytes of all its buffers


@attrs.frozen
class _Table:
    """A FlatBuffers table in ``data``, at the offset ``at``."""

    data: bytes
    at: int

    def field(self, number: int) -> int:
        """Return the offset of a field; 0 if the table does not have the field.

        Raises:
            MalformedError: an offset points outside of the data.
        """
        vtable = self.at - _number("<i", self.data, self.at)
        if 4 + 2 * number >= _number("<H", self.data, vtable):
            return 0
        offset = _number("<H", self.data, vtable + 4 + 2 * number)
        return self.at + offset if offset else 0

    def integer(self, number: int, form: str) -> int:
        place = self.field(number)
        return _number(form, self.data, place) if place else 0

    def child(self, number: int) -> _Table | None:
        place = self.field(number)
        return _Table(self.data, place + _number("<I", self.data, place)) if place else None

    def vector(self, number: int, item: struct.Struct) -> Iterator[tuple[int, ...]]:
        place = self.field(number)
        if not place:
            return
        start = place + _number("<I", self.data, place)
        count = _number("<I", self.data, start)
        if start + 4 + count * item.size > len(self.data):
            raise MalformedError("a list of its footer or of a batch is longer than its bytes")
        for at in range(count):
            yield item.unpack_from(self.data, start + 4 + at * item.size)


def _number(form: str, data: bytes, at: int) -> int:
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise MalformedError("an offset in its footer or in a batch points outside of the data")
    return int(struct.unpack_from(form, data, at)[0])


def read_batch_sizes(read: ReadAt, size: int) -> Iterator[BatchSize]:
    """Yield the sizes of all batches of a file of ``size`` bytes, dictionaries first.

    Raises:
        MalformedError: the file is not Arrow IPC; its footer is malformed or too long; it has too
            many batches; a batch is malformed, is outside of the file, is of another kind, or
            unpacks to more bytes than its rows can need.
    """
    tail = read(max(0, size - ARROW_TAIL_BYTES), ARROW_TAIL_BYTES)
    if size < 2 * ARROW_TAIL_BYTES or tail[4:] != MAGIC:
        raise MalformedError("it does not end with the magic of Arrow (it is Feather 1, or cut)")
    length = _number("<i", tail, 0)
    if not 0 < length <= min(ARROW_FOOTER_BYTES_MAX, size - ARROW_TAIL_BYTES):
        raise MalformedError(f"its footer has {length:,} bytes, which is too many or too few")
    footer = read(size - ARROW_TAIL_BYTES - length, length)
    root = _Table(footer, _number("<I", footer, 0))
    blocks = [*root.vector(2, BLOCK), *root.vector(3, BLOCK)]
    if len(blocks) > BATCHES_MAX:
        raise MalformedError(f"it has {len(blocks):,} batches, the limit is {BATCHES_MAX:,}")
    for offset, header_bytes, body_bytes in blocks:
        inside = min(offset, header_bytes, body_bytes) >= 0 and (
            offset + header_bytes + body_bytes <= size and 8 < header_bytes <= MESSAGE_BYTES_MAX
        )
        if not inside:
            raise MalformedError("a batch is outside of the file")
        yield _read_batch(read, offset, header_bytes, body_bytes)


def _read_batch(read: ReadAt, offset: int, header_bytes: int, body_bytes: int) -> BatchSize:
    header = read(offset, header_bytes)
    start = 8 if _number("<I", header, 0) == CONTINUATION else 4
    data = header[start:]
    message = _Table(data, _number("<I", data, 0))
    kind, batch = message.integer(1, "<B"), message.child(2)
    if kind == DICTIONARY_BATCH and batch is not None:
        batch = batch.child(1)
    if batch is None or kind not in (RECORD_BATCH, DICTIONARY_BATCH):
        raise MalformedError("a message in it is not a batch of rows or of texts")
    rows, packed = batch.integer(0, "<q"), batch.child(3) is not None
    unpacked = columns = 0
    for at, length in batch.vector(2, BUFFER):
        if at < 0 or length < 0 or at + length > body_bytes:
            raise MalformedError("a column of a batch is outside of the batch")
        columns += 1
        unpacked += _unpacked_bytes(read, offset + header_bytes + at, length, packed=packed)
    limit = columns * SLACK_BYTES + rows * columns * CELL_BYTES_MAX
    if rows < 0 or unpacked > limit:
        raise MalformedError(
            f"a batch of {rows:,} rows unpacks to {unpacked:,} bytes, the limit is {limit:,}"
        )
    return BatchSize(rows=rows, unpacked=unpacked)


def _unpacked_bytes(read: ReadAt, at: int, length: int, *, packed: bool) -> int:
    if not packed or not length:
        return length
    said = _number("<q", read(at, 8), 0)
    if said == STORED:
        return length
    if said < 0:
        raise MalformedError("a column of a batch has a negative length")
    return said
