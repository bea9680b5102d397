"""Checks of a request's head and its target."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from kamou.http.limits import Limits
from kamou.http.traffic import TrafficRefusal

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case

VERSIONS = frozenset({b"1.0", b"1.1"})
HEAD_END = re.compile(rb"\n\r?\n")
ABSOLUTE = re.compile(rb"https?://([^/?#@]+)([/?][^#]*)?", re.IGNORECASE)
CONTENT_LENGTH_DIGITS_MAX = 12  # a longer number is too large in any case


@attrs.frozen
class HttpRefusal:
    """A rejected request: its HTTP status and its counter."""

    status: int
    reason: TrafficRefusal


@attrs.frozen
class Target:
    """A request target: path with query, and the authority if there is one."""

    path: bytes
    authority: bytes | None = None


def head_too_large(buffered: bytes, limits: Limits) -> bool:
    """Return True if a request's head, complete or not, has too many bytes or lines.

    h11 parses a complete head of any length: 16 KB of empty headers take 5 ms. Counting line ends
    takes microseconds.
    """
    lines_max = limits.headers_max + 1  # with the request line
    if len(buffered) <= limits.header_bytes_max and buffered.count(b"\n") <= lines_max:
        return False
    end = HEAD_END.search(buffered)
    head = buffered if end is None else buffered[: end.start() + 1]
    return len(head) > limits.header_bytes_max or head.count(b"\n") > lines_max


def check_request_head(
    *, method: bytes, version: bytes, headers: Headers, limits: Limits
) -> HttpRefusal | None:
    """Return the rejection of a well-formed head; None if the request is allowed."""
    if version not in VERSIONS:
        return HttpRefusal(505, TrafficRefusal.VERSION)  # HTTP/2's preface too
    if method == b"CONNECT":
        return HttpRefusal(501, TrafficRefusal.METHOD)  # this is no proxy
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (lengths or version == b"1.0"):
        # RFC 9112, 6.1: a proxy in front may see another end of this body
        return HttpRefusal(400, TrafficRefusal.MALFORMED)
    if any(_too_long(length, limits.body_bytes_max) for length in lengths):
        return HttpRefusal(413, TrafficRefusal.BODY)
    return None


def parse_target(method: bytes, target: bytes) -> Target | None:
    """Return path and authority of a request target; None if its form is not served.

    The served forms are the origin form, the absolute form (RFC 9112, 3.2.2: a server must accept
    it, and its authority replaces the Host header) and ``OPTIONS *``.
    """
    if target.startswith(b"/"):
        return Target(target)
    if target == b"*":
        return Target(target) if method == b"OPTIONS" else None
    found = ABSOLUTE.fullmatch(target)
    if found is None:
        return None
    path = found[2] or b"/"
    return Target(path if path.startswith(b"/") else b"/" + path, found[1])


def _too_long(length: bytes, bytes_max: int) -> bool:
    return len(length) > CONTENT_LENGTH_DIGITS_MAX or int(length) > bytes_max
