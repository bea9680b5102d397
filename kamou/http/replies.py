"""Replies as prebuilt bytes: body, its gzip, its tag and every header, made once and sent often."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import attrs
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from kamou.http.negotiation import accepts_gzip, matches_etag

HTML = "text/html; charset=utf-8"
JSON = "application/json"
GZIP_MIN = 600  # bytes; a smaller body fits one packet either way
GZIP_LEVEL = 6  # zlib's own balance of time and size
REVALIDATE = "no-cache"  # keep it, but ask: the next cycle changes it
IMMUTABLE = "public, max-age=31536000, immutable"  # its address holds its digest
NEVER = "no-store"
ENTRY_BYTES = 2_048  # of one kept reply without its body: headers, key, bookkeeping

RawHeaders = list[tuple[bytes, bytes]]

SECURITY: Mapping[str, str] = {
    # Nothing is loaded but our own style sheet and images; no script runs at all.
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
class FixedReply:
    """An ASGI application that answers with these bytes. GET and HEAD alike."""

    status: int
    body: bytes
    zipped: bytes | None
    etag: str | None
    headers: RawHeaders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Headers(scope=scope)
        if self.etag is not None and matches_etag(asked.get("if-none-match", ""), self.etag):
            kept = [(k, v) for k, v in self.headers if k != b"content-type"]
            await _send(send, 304, kept, b"")
            return
        body, headers = self.body, self.headers
        if self.zipped is not None and accepts_gzip(asked.get("accept-encoding", "")):
            body, headers = self.zipped, [*headers, (b"content-encoding", b"gzip")]
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        await _send(send, self.status, headers, b"" if scope["method"] == "HEAD" else body)

    @property
    def size(self) -> int:
        """Return the approximate memory of a kept reply, in bytes."""
        return len(self.body) + len(self.zipped or b"") + ENTRY_BYTES


def reply(
    body: bytes,
    media_type: str,
    *,
    status: int = 200,
    cache: str = REVALIDATE,
    extra: Mapping[str, str] | None = None,
) -> FixedReply:
    """Make a reply; only a 200 that may be kept has a tag."""
    kept = status == 200 and cache != NEVER
    zipped = gzip.compress(body, GZIP_LEVEL, mtime=0) if kept and len(body) >= GZIP_MIN else None
    # Weak: the compressed and the plain body are the same page under one tag.
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
    return FixedReply(status=status, body=body, zipped=zipped, etag=etag, headers=raw)


class Replies:
    """The newest replies by key, each valid for one version of the database; bounded in bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._kept: OrderedDict[object, tuple[int, FixedReply]] = OrderedDict()
        self._bytes_max = bytes_max
        self._bytes = 0

    def get(self, key: object, version: int) -> FixedReply | None:
        found = self._kept.get(key)
        if found is None or found[0] != version:
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: object, version: int, made: FixedReply) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[1].size
        self._kept[key] = (version, made)
        self._bytes += made.size
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1].size

    def __len__(self) -> int:
        return len(self._kept)


async def _send(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
