"""Hostile requests that no client library sends, each with the expected response."""

from __future__ import annotations

from typing import TypedDict

import attrs

from kamou.http.traffic import TrafficRefusal
from tests.http.rough_client import request

GET = b"GET /zz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /zz HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
PRIORITY = b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x10"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(189))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one HTTP/2 frame (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def encode_field(name: bytes, value: bytes) -> bytes:
    """Return one literal header field without indexing (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def encode_header_block(path: bytes, method: bytes = b"GET") -> bytes:
    fields = {b":method": method, b":path": path, b":scheme": b"http", b":authority": b"localhost"}
    return b"".join(encode_field(name, value) for name, value in fields.items())


def upgrade_headers(settings: bytes) -> bytes:
    return (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
        + settings
        + b"\r\n\r\n"
    )


@attrs.frozen(kw_only=True)
class HostileRequest:
    """Bytes with the expected status and counter.

    Without a status, any response of the application is expected.
    """

    data: bytes
    status: int | None = None  # None: any response of the application
    reason: TrafficRefusal | None = None
    stays: bool = False  # the connection stays open for another request
    ahead: bool = False  # more than one request: a listener may close after the response


class Refusal(TypedDict):
    """The fields of a request that one counter counts and one status answers."""

    status: int
    reason: TrafficRefusal


MALFORMED: Refusal = {"status": 400, "reason": TrafficRefusal.MALFORMED}
VERSION: Refusal = {"status": 505, "reason": TrafficRefusal.VERSION}
METHOD: Refusal = {"status": 501, "reason": TrafficRefusal.METHOD}
HEADERS: Refusal = {"status": 431, "reason": TrafficRefusal.HEADERS}
BODY: Refusal = {"status": 413, "reason": TrafficRefusal.BODY}

HOSTILE_REQUESTS = {
    # --- hypercorn#225, and upgrades that are not supported
    "websocket with a byte too many": HostileRequest(
        data=GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: bKdPyn3u98cTfZJSh4TNeQ==\r\n\r\nx",
        stays=True,
        ahead=True,
    ),
    "websocket": HostileRequest(
        data=GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: bKdPyn3u98cTfZJSh4TNeQ==\r\n\r\n",
        stays=True,
    ),
    "websocket without a key": HostileRequest(
        data=GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", stays=True
    ),
    "h2c": HostileRequest(data=GET + upgrade_headers(b"AAMAAABkAAQCAAAAAAIAAAAA"), stays=True),
    "h2c with bad padding": HostileRequest(
        data=GET + upgrade_headers(b"AAMAAABkAAQCAAAAAAIAAAAA="), stays=True
    ),
    "h2c with no base64": HostileRequest(data=GET + upgrade_headers(b"\x80\xff!"), stays=True),
    "h2c with settings of five bytes": HostileRequest(
        data=GET + upgrade_headers(b"AAMAAAA"), stays=True
    ),
    "h2c and then a preface": HostileRequest(
        data=GET + upgrade_headers(b"AAMAAABk") + PREFACE + SETTINGS, ahead=True
    ),
    # --- HTTP/2 by prior knowledge
    "preface": HostileRequest(data=PREFACE, **VERSION),
    "half a preface": HostileRequest(data=b"PRI * HTTP/2.0\r\n\r\n", **VERSION),
    "path that is no ASCII": HostileRequest(
        data=PREFACE + SETTINGS + frame(1, 5, 1, encode_header_block(b"/\xff\xfe\x80")), **VERSION
    ),
    "CONNECT over HTTP/2": HostileRequest(
        data=PREFACE + SETTINGS + frame(1, 4, 1, encode_field(b":method", b"CONNECT")), **VERSION
    ),
    "DATA after an early answer": HostileRequest(
        data=PREFACE
        + SETTINGS
        + frame(1, 4, 1, encode_header_block(b"/zz", b"POST"))
        + frame(0, 0, 1, b"x" * 1_000) * 20,
        **VERSION,
    ),
    "1,001 PRIORITY frames": HostileRequest(
        data=PREFACE
        + SETTINGS
        + b"".join(frame(2, 0, 2 * i + 1, b"\0\0\0\0\x10") for i in range(1_001)),
        **VERSION,
    ),
    "resets of streams": HostileRequest(
        data=PREFACE
        + SETTINGS
        + b"".join(
            frame(1, 5, 2 * i + 1, encode_header_block(b"/zz"))
            + frame(3, 0, 2 * i + 1, b"\0\0\0\x08")
            for i in range(100)
        ),
        **VERSION,
    ),
    "a window of nothing": HostileRequest(
        data=PREFACE + SETTINGS + frame(8, 0, 0, b"\0" * 4), **VERSION
    ),
    "a frame without a preface": HostileRequest(data=SETTINGS, **MALFORMED),
    # --- not HTTP at all
    "TLS hello": HostileRequest(data=TLS_HELLO, **MALFORMED),
    "SSLv2 hello": HostileRequest(
        data=b"\x80\x2e\x01\x03\x01" + bytes(45) + b"\n\r\n", **MALFORMED
    ),
    "SSH": HostileRequest(data=b"SSH-2.0-OpenSSH_9.6\r\n\r\n", **MALFORMED),
    "SMB": HostileRequest(data=b"\0\0\0\x54\xffSMBr", **MALFORMED),
    "SOCKS5": HostileRequest(data=b"\x05\x01\x00", **MALFORMED),
    "PROXY protocol": HostileRequest(
        data=b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET + b"\r\n", **MALFORMED
    ),
    "PROXY protocol v2": HostileRequest(
        data=b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes(12), **MALFORMED
    ),
    "empty lines": HostileRequest(data=b"\r\n\r\n" + GET + b"\r\n", **MALFORMED),
    "JSON": HostileRequest(data=b'{"jsonrpc": "2.0"}\r\n\r\n', **MALFORMED),
    "HTTP/0.9": HostileRequest(data=b"GET /\r\n\r\n", **MALFORMED),
    "zeros": HostileRequest(data=bytes(1_000), **MALFORMED),
    # --- the request line
    "NUL in the path": HostileRequest(
        data=b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED
    ),
    "NUL, escaped": HostileRequest(data=request("/trades/%00%ff%ed%a0%80"), stays=True),
    "bytes above ASCII": HostileRequest(
        data=b"GET /\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED
    ),
    "escape sequence": HostileRequest(
        data=b"GET /\x1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED
    ),
    "line break, escaped": HostileRequest(
        data=request("/%0d%0aresults:%20http://evil"), stays=True
    ),
    "bare CR": HostileRequest(data=b"GET / HTTP/1.1\rHost: localhost\r\n\r\n", **MALFORMED),
    "bare CR in a value": HostileRequest(data=GET + b"A: b\rc\r\n\r\n", **MALFORMED),
    "bare LF": HostileRequest(data=GET.replace(b"\r\n", b"\n") + b"\n", stays=True),
    "HTTP/2.0": HostileRequest(data=b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", **VERSION),
    "HTTP/0.9, stated": HostileRequest(data=b"GET / HTTP/0.9\r\n\r\n", **VERSION),
    "HTTP/9.9": HostileRequest(data=b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", **VERSION),
    "HTTP/1.11": HostileRequest(data=b"GET / HTTP/1.11\r\nHost: localhost\r\n\r\n", **MALFORMED),
    "http/1.1": HostileRequest(data=b"GET / http/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED),
    "absolute form": HostileRequest(
        data=b"GET http://localhost/zz HTTP/1.1\r\nHost: x\r\n\r\n", stays=True
    ),
    "absolute form without a path": HostileRequest(
        data=b"GET http://localhost?a HTTP/1.1\r\nHost: x\r\n\r\n", stays=True
    ),
    "absolute form with a user": HostileRequest(
        data=b"GET http://a@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED
    ),
    "another scheme": HostileRequest(
        data=b"GET file:///etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED
    ),
    "authority form": HostileRequest(
        data=b"GET localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED
    ),
    "asterisk": HostileRequest(data=b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", **MALFORMED),
    "OPTIONS *": HostileRequest(data=b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", stays=True),
    "CONNECT": HostileRequest(data=b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", **METHOD),
    "CONNECT with a path": HostileRequest(
        data=b"CONNECT / HTTP/1.1\r\nHost: localhost\r\n\r\n", **METHOD
    ),
    "TRACE": HostileRequest(data=request("/zz", method=b"TRACE"), stays=True),
    "a huge method": HostileRequest(data=request("/zz", method=b"X" * 5_000), stays=True),
    "a method in lower case": HostileRequest(
        data=request("/how-it-works", method=b"head"), stays=True
    ),
    "a method that is none": HostileRequest(data=request("/zz", method=b"G{T"), **MALFORMED),
    "a long path": HostileRequest(data=request("/" + "x" * 6_000), stays=True),
    "dots": HostileRequest(data=request("/static/../../../../etc/passwd"), stays=True),
    "dots, escaped": HostileRequest(data=request("/static/%2e%2e/%2e%2e/etc/passwd"), stays=True),
    "two slashes": HostileRequest(data=request("//evil.example/zz"), stays=True),
    "many parameters": HostileRequest(data=request("/trades?" + "&".join("a" * 250)), stays=True),
    "a fragment": HostileRequest(data=request("/zz#top"), stays=True),
    # --- headers
    "no Host": HostileRequest(data=b"GET / HTTP/1.1\r\n\r\n", **MALFORMED),
    "two Hosts": HostileRequest(data=GET + b"Host: evil.example\r\n\r\n", **MALFORMED),
    "a Host that is none": HostileRequest(data=b"GET / HTTP/1.1\r\nHost: \x80\r\n\r\n", stays=True),
    "NUL in a value": HostileRequest(data=GET + b"A: b\0c\r\n\r\n", **MALFORMED),
    "a space before the colon": HostileRequest(
        data=GET + b"Content-Length : 5\r\n\r\n", **MALFORMED
    ),
    "no colon": HostileRequest(data=GET + b"nothing\r\n\r\n", **MALFORMED),
    "no name": HostileRequest(data=GET + b": a\r\n\r\n", **MALFORMED),
    "a name that is no token": HostileRequest(data=GET + b"a(b): c\r\n\r\n", **MALFORMED),
    "a fold first": HostileRequest(data=b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", **MALFORMED),
    "a fold": HostileRequest(data=GET + b"Accept: text/html\r\n , */*\r\n\r\n", stays=True),
    "a fold of a length": HostileRequest(
        data=POST + b"Content-Length: 1\r\n 0\r\n\r\n", **MALFORMED
    ),
    "folds without end": HostileRequest(data=GET + b"A: b\r\n" + b" c\r\n" * 1_500, **HEADERS),
    "many headers": HostileRequest(data=GET + b"A:\r\n" * 200 + b"\r\n", **HEADERS),
    "many headers, no end": HostileRequest(data=GET + b"A:\r\n" * 200, **HEADERS),
    "many headers in few bytes": HostileRequest(data=GET + b"A:\n" * 200 + b"\n", **HEADERS),
    "long headers": HostileRequest(data=GET + b"A: " + b"x" * 17_000 + b"\r\n\r\n", **HEADERS),
    "long headers, no end": HostileRequest(data=GET + b"A: " + b"x" * 40_000, **HEADERS),
    "a long line without a break": HostileRequest(data=b"G" * 40_000, **HEADERS),
    "a long Accept": HostileRequest(
        data=GET + b"Accept: " + b"," * 7_500 + b"\r\n\r\n", stays=True
    ),
    "a long If-None-Match": HostileRequest(
        data=GET + b"If-None-Match: " + b'"",' * 2_500 + b"\r\n\r\n", stays=True
    ),
    "headers above ASCII": HostileRequest(
        data=GET + b"Accept: \xff\xfe\r\nAccept-Encoding: \x80\r\nAuthorization: \xe9\r\n\r\n",
        stays=True,
    ),
    "odd qualities": HostileRequest(
        data=GET
        + b"Accept: a/b;q=nan, */*;q=1e999, c/d;q=--1\r\nAccept-Encoding: gzip;q=inf\r\n\r\n",
        stays=True,
    ),
    # --- bodies, and the shapes of request smuggling
    "two lengths": HostileRequest(
        data=POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", **MALFORMED
    ),
    "two lengths in one": HostileRequest(
        data=POST + b"Content-Length: 5, 6\r\n\r\nabcde", **MALFORMED
    ),
    "a negative length": HostileRequest(data=POST + b"Content-Length: -5\r\n\r\n", **MALFORMED),
    "a length with a sign": HostileRequest(
        data=POST + b"Content-Length: +5\r\n\r\nabcde", **MALFORMED
    ),
    "a length in hex": HostileRequest(data=POST + b"Content-Length: 0x5\r\n\r\nabcde", **MALFORMED),
    "a length with an underscore": HostileRequest(
        data=POST + b"Content-Length: 1_0\r\n\r\n", **MALFORMED
    ),
    "a length in other digits": HostileRequest(
        data=POST + "Content-Length: \u0665\r\n\r\n".encode(), **MALFORMED
    ),
    "a length without end": HostileRequest(
        data=POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        status=None,
    ),
    "a huge length": HostileRequest(data=POST + b"Content-Length: 99999999999\r\n\r\n", **BODY),
    "a length of more than a word": HostileRequest(
        data=POST + b"Content-Length: 18446744073709551617\r\n\r\nx", status=None
    ),
    "length and chunks": HostileRequest(
        data=POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
        **MALFORMED,
    ),
    "chunks and length": HostileRequest(
        data=POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /",
        **MALFORMED,
    ),
    "two codings": HostileRequest(
        data=POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        **METHOD,
    ),
    "another coding": HostileRequest(data=POST + b"Transfer-Encoding: xchunked\r\n\r\n", **METHOD),
    "gzip and chunks": HostileRequest(
        data=POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", **METHOD
    ),
    "a coding with a tab": HostileRequest(
        data=POST + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", stays=True
    ),
    "a coding with a vertical tab": HostileRequest(
        data=POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", **MALFORMED
    ),
    "chunks of HTTP/1.0": HostileRequest(
        data=b"POST /zz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", **MALFORMED
    ),
    "a chunk that is none": HostileRequest(data=CHUNKED + b"zz\r\nhello\r\n", **MALFORMED),
    "a chunk of a negative size": HostileRequest(data=CHUNKED + b"-1\r\nhello\r\n", **MALFORMED),
    "a chunk with a prefix": HostileRequest(
        data=CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", **MALFORMED
    ),
    "a chunk that runs over": HostileRequest(
        data=CHUNKED + b"5\r\nhelloworld\r\n0\r\n\r\n", **MALFORMED
    ),
    "a chunk without its end": HostileRequest(data=CHUNKED + b"5\r\nhelloXX0\r\n\r\n", **MALFORMED),
    "a size without end": HostileRequest(data=CHUNKED + b"0" * 100 + b"\r\n", **MALFORMED),
    "a huge chunk": HostileRequest(data=CHUNKED + b"fffffff\r\n" + b"x" * 20_000, **BODY),
    "many small chunks": HostileRequest(data=CHUNKED + b"1\r\nx\r\n" * 500, **BODY),
    "a chunk with an extension": HostileRequest(
        data=CHUNKED + b"1;a=b\r\nx\r\n0\r\n\r\n", stays=True
    ),
    "trailers": HostileRequest(
        data=CHUNKED + b"0\r\nHost: evil\r\nContent-Length: 5\r\n\r\n", stays=True
    ),
    "bad trailers": HostileRequest(data=CHUNKED + b"0\r\nbad\r\n\r\n", **MALFORMED),
    "trailers without end": HostileRequest(
        data=CHUNKED + b"0\r\n" + b"A: b\r\n" * 5_000, **HEADERS
    ),
    "chunks to a page": HostileRequest(
        data=GET + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", stays=True
    ),
    "a body to a page": HostileRequest(data=GET + b"Content-Length: 5\r\n\r\nhello", stays=True),
    "a large body": HostileRequest(
        data=POST + b"Content-Length: 9000\r\n\r\n" + b"x" * 9_000, **BODY
    ),
    "100-continue, and then nothing": HostileRequest(
        data=POST + b"Content-Length: 99999\r\nExpect: 100-continue\r\n\r\n", **BODY
    ),
    "another expectation": HostileRequest(data=GET + b"Expect: 200-ok\r\n\r\n", stays=True),
    # --- after the request
    "close, and five bytes": HostileRequest(data=GET + b"Connection: close\r\n\r\nabcde"),
    "close, and another request": HostileRequest(
        data=GET + b"Connection: close\r\n\r\n" + GET + b"\r\n"
    ),
    "five bytes": HostileRequest(data=GET + b"\r\nabcde", stays=True, ahead=True),
    "a request, and a zero": HostileRequest(data=GET + b"\r\n\0"),
    "a request, and a preface": HostileRequest(data=GET + b"\r\n" + PREFACE, ahead=True),
    "HTTP/1.0": HostileRequest(data=b"GET /zz HTTP/1.0\r\n\r\n"),
    "HTTP/1.0, to keep": HostileRequest(data=b"GET /zz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    "connection words": HostileRequest(data=GET + b"Connection: close, keep-alive, te, x\r\n\r\n"),
}
