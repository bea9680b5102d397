"""Prebuilt responses: ``FixedResponse``, its construction and ``ResponseCache``."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import attrs
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import HTTPExceptionHandler, Receive, Scope, Send

from kamou.http.negotiation import accepts_gzip, matches_etag

HTML = "text/html; charset=utf-8"
JSON = "application/json"
GZIP_MIN = 600  # bytes; a smaller body fits one packet either way
GZIP_LEVEL = 6  # zlib's default balance of time and size
REVALIDATE = "no-cache"  # caches revalidate, because each trading cycle changes the page
IMMUTABLE = "public, max-age=31536000, immutable"  # the address contains the digest
NEVER = "no-store"  # for errors and for the operator's data
ENTRY_BYTES = 2_048  # memory of one cached response without its body

RawHeaders = list[tuple[bytes, bytes]]

SECURITY: Mapping[str, str] = {
    # Pages load only Kamou's style sheet and images, and run no script.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


@attrs.frozen(kw_only=True)
class FixedResponse:
    """ASGI application that sends one prebuilt response, compressed if accepted.

    A HEAD request gets only its headers. If the response has a tag, a request whose If-None-Match
    has the tag or ``*`` gets 304.
    """

    status: int
    body: bytes
    zipped: bytes | None  # None: too small, or not stored by caches
    etag: str | None
    headers: RawHeaders

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        request_headers = Headers(scope=scope)
        if self.etag is not None and matches_etag(
            request_headers.get("if-none-match", ""), self.etag
        ):
            kept = [(k, v) for k, v in self.headers if k != b"content-type"]
            await _send(send, 304, kept, b"")
            return
        body, headers = self.body, self.headers
        if self.zipped is not None and accepts_gzip(request_headers.get("accept-encoding", "")):
            body, headers = self.zipped, [*headers, (b"content-encoding", b"gzip")]
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        await _send(send, self.status, headers, b"" if scope["method"] == "HEAD" else body)

    @property
    def size(self) -> int:
        """Approximate memory of a cached response, in bytes."""
        return len(self.body) + len(self.zipped or b"") + ENTRY_BYTES


def make_error_handler(
    handler: Callable[[Request, Exception], Awaitable[FixedResponse]],
) -> HTTPExceptionHandler:
    """Return a handler of errors with the type that Starlette declares.

    Starlette calls what a handler returns, and needs no ``Response`` of its own.
    """
    return cast(HTTPExceptionHandler, handler)


def make_response(
    body: bytes,
    media_type: str,
    *,
    status: int = 200,
    cache: str = REVALIDATE,
    extra: Mapping[str, str] | None = None,
) -> FixedResponse:
    """Return a response; only one with status 200 that may be cached has a tag.

    Such a response is also compressed if its body has ``GZIP_MIN`` bytes or more.

    Args:
        body: the uncompressed body.
        media_type: the Content-Type.
        status: the HTTP status.
        cache: the Cache-Control header.
        extra: further headers by lower-case name.
    """
    kept = status == 200 and cache != NEVER
    zipped = gzip.compress(body, GZIP_LEVEL, mtime=0) if kept and len(body) >= GZIP_MIN else None
    # Weak, because the compressed and the plain body have the same tag.
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"' if kept else None
    headers = {
        "content-type": media_type,
        "cache-control": cache,
        "vary": "Accept, Accept-Encoding",
        **SECURITY,
        **(extra or {}),
    }
    if etag is not None:
        headers["etag"] = etag
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return FixedResponse(status=status, body=body, zipped=zipped, etag=etag, headers=raw)


class ResponseCache:
    """Cache of responses by key, each for one version of the database (its head).

    If the cached responses together exceed ``bytes_max``, the least recently used ones are dropped.
    The newest response stays, whatever its size.
    """

    def __init__(self, bytes_max: int) -> None:
        self._cached: OrderedDict[object, tuple[int, FixedResponse]] = OrderedDict()
        self._bytes_max = bytes_max
        self._bytes = 0

    def get(self, key: object, version: int) -> FixedResponse | None:
        """Return the cached response for this version; None without one."""
        found = self._cached.get(key)
        if found is None or found[0] != version:
            return None
        self._cached.move_to_end(key)
        return found[1]

    def put(self, key: object, version: int, made: FixedResponse) -> None:
        """Cache a response; drop the least recently used others beyond ``bytes_max``."""
        if key in self._cached:
            self._bytes -= self._cached.pop(key)[1].size
        self._cached[key] = (version, made)
        self._bytes += made.size
        while self._bytes > self._bytes_max and len(self._cached) > 1:
            self._bytes -= self._cached.popitem(last=False)[1][1].size

    def __len__(self) -> int:
        return len(self._cached)


async def _send(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
