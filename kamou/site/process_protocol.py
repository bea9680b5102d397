"""Protocol of the site's process (handover, heartbeats), and ``read_pricing``.

The trading process and its child use three pipes. Standard input carries one line of JSON
(``SiteHandover``) and stays open until the parent closes it or ends. Standard output carries
heartbeats of fixed size. Standard error carries text, which the parent limits and escapes.

Both processes import this module, so it imports little.
"""

from __future__ import annotations

import struct
from pathlib import Path

import attrs
import msgspec

from kamou.core.kinds import RunMode
from kamou.errors import ConfigurationError
from kamou.http.limits import Limits

HANDOVER_BYTES_MAX = 1024 * 1024  # of its texts only the pricing page can be long
PRICING_BYTES_MAX = 256 * 1024  # of web.pricing_file; far more than any page has
HEARTBEAT_MAGIC = b"kamou-1\n"  # distinguishes heartbeats from stray prints


@attrs.frozen(kw_only=True)
class SiteHandover:
    """All data that the child receives, without token, salt key and operator's socket.

    ``mode``, ``currency`` and ``gate`` are shown only until the journal has a run with its own.
    """

    database: str  # absolute path, opened read-only
    socket: int  # inherited descriptor of the listening socket
    mode: RunMode
    currency: str
    gate: str
    pricing_markdown: str
    nice: int  # added to the parent's niceness
    memory_max_bytes: int  # address space; 0: unlimited
    descriptors_max: int  # open files
    render_max_s: float  # a page that takes longer ends the child
    heartbeat_s: float  # between two heartbeats
    limits: Limits  # of the listener
    public_url: str = ""  # the site's origin for visitors; empty: unknown


@attrs.frozen(kw_only=True)
class Heartbeat:
    """Figures of the child; counters begin at its start."""

    requests: int  # that reached the application
    connections: int  # open now
    accepted: int  # connections
    refused: int  # rejected connections and requests, for all reasons of ``TrafficRefusal``
    cut: int  # connections that were too slow, read nothing, or were open at the end
    failed: int  # connections that an exception ended
    renders: int  # pages rendered or failed, without those from the cache
    memory_bytes: int  # resident now
    descriptors: int  # open now


_FIELDS = tuple(field.name for field in attrs.fields(Heartbeat))
_FRAME = struct.Struct(f"<8s{len(_FIELDS)}Q")
HEARTBEAT_BYTES = _FRAME.size  # below PIPE_BUF: written whole or not at all
COUNTER_MAX = 2**63 - 1


def encode_handover(handover: SiteHandover) -> bytes:
    """Return the handover as one line of JSON, which the child reads first."""
    line = msgspec.json.encode(handover) + b"\n"
    assert len(line) <= HANDOVER_BYTES_MAX, (
        f"the handover has {len(line)} bytes, the limit is {HANDOVER_BYTES_MAX}"
    )
    return line


def decode_handover(line: bytes) -> SiteHandover:
    """Return the handover in a line of ``encode_handover``.

    Raises:
        ValueError: ``line`` is not a handover; the error names an invalid field.
    """
    return msgspec.json.decode(line, type=SiteHandover)


def encode_heartbeat(beat: Heartbeat) -> bytes:
    """Return ``HEARTBEAT_BYTES`` bytes; numbers are limited to 0 .. ``COUNTER_MAX``."""
    numbers = (min(max(0, getattr(beat, name)), COUNTER_MAX) for name in _FIELDS)
    return _FRAME.pack(HEARTBEAT_MAGIC, *numbers)


def decode_heartbeat(frame: bytes) -> Heartbeat | None:
    """Return the heartbeat in the bytes; None if they are not exactly one."""
    if len(frame) != HEARTBEAT_BYTES:
        return None
    magic, *numbers = _FRAME.unpack(frame)
    if magic != HEARTBEAT_MAGIC or max(numbers) > COUNTER_MAX:
        return None
    return Heartbeat(**dict(zip(_FIELDS, numbers, strict=True)))


def read_pricing(file: str) -> str:
    """Return the Markdown of ``web.pricing_file``; empty if that setting is empty.

    Raises:
        ConfigurationError: the file cannot be read as UTF-8, or is longer than
            ``PRICING_BYTES_MAX``.
    """
    if not file:
        return ""
    try:
        with Path(file).expanduser().open("rb") as opened:
            text = opened.read(PRICING_BYTES_MAX + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:  # RuntimeError: unknown ~user
        raise ConfigurationError(
            f"web.pricing_file: cannot read {file} as UTF-8 text ({error});"
            " set it to a readable UTF-8 file or leave it empty"
        ) from error
    if len(text.encode()) > PRICING_BYTES_MAX:
        raise ConfigurationError(
            f"web.pricing_file: {file} is longer than {PRICING_BYTES_MAX // 1024} KB; shorten it"
        )
    return text
