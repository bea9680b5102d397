"""The operator's HTTP application, its operations and its default Host names.

The application serves health, readiness, metrics, status, halt, resume and flatten, and the proof
that a listener knows the token. Over TCP all paths need the bearer token, except the two health
checks and the proof. The Host header must be an allowed one, because a web page that reaches this
address by DNS rebinding sends its own host name. On the Unix socket the mode of its file is the
credential.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import attrs
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kamou.core.model import HALT_STATES
from kamou.core.words import state_cause
from kamou.errors import KamouError, TimedOutError
from kamou.http.addresses import literal
from kamou.http.responses import JSON, NEVER, FixedResponse, make_error_handler, make_response
from kamou.operator.metrics import CONTENT_TYPE, exposition
from kamou.operator.reason import describe_excess, shorten_reason
from kamou.operator.token import make_proof, token_matches

BODY_BYTES_MAX = 4096  # of a command's body; a reason is one sentence
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")  # RFC 9110, 7.2
PROOF_PATH = "/api/v1/proof"
OPEN_PATHS = frozenset({"/healthz", "/readyz", PROOF_PATH})
"""Paths that need no token: health has no secrets, and the proof comes before the token."""

OperatorCommand = Callable[[str], Awaitable[Mapping[str, Any]]]
"""A command: takes the operator's reason, returns the fields of the response."""


async def _refresh_nothing() -> None:
    """Do nothing: ``status`` is up to date already."""


@attrs.frozen(kw_only=True)
class Operations:
    """The functions that the application calls.

    ``snapshot``, ``status``, ``not_ready`` and ``degraded`` are synchronous and cheap.
    """

    snapshot: Callable[[], Mapping[str, Any]]  # the supervision tree as plain data
    status: Callable[[], Mapping[str, Any]]  # plain data; see ``metrics.exposition`` and ``readyz``
    not_ready: Callable[[], Sequence[str]]  # reasons; empty if the run is ready
    halt: OperatorCommand
    resume: OperatorCommand
    flatten: OperatorCommand
    degraded: Callable[[], Sequence[str]] = tuple  # failures of the public site
    refresh: Callable[[], Awaitable[None]] = _refresh_nothing  # reads marks, before ``status``


class CommandBody(msgspec.Struct, forbid_unknown_fields=True):
    """The optional JSON body of a command."""

    reason: str = ""


def default_hosts(bound: str) -> tuple[str, ...]:
    """Return the Host names, without a port, of a listener bound to this address."""
    return (literal(bound), "127.0.0.1", "localhost", "[::1]")


def operator_app(
    operations: Operations, *, token: str | None, allowed_hosts: Sequence[str]
) -> ASGIApp:
    """Return the operator's ASGI application.

    Args:
        operations: the functions that the application calls.
        token: the bearer token that a client must send; None on a Unix socket, which only its
            owner can open.
        allowed_hosts: Host names without a port.
    """
    assert token is None or token, "an empty token would admit every client"
    endpoints = _Endpoints(operations, token)
    app = Starlette(
        routes=[
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
            Route(PROOF_PATH, endpoints.proof),
            Route("/metrics", endpoints.metrics),
            Route("/api/v1/status", endpoints.status),
            Route("/api/v1/halt", endpoints.stop(operations.halt), methods=["POST"]),
            Route("/api/v1/resume", endpoints.resume(operations.resume), methods=["POST"]),
            Route("/api/v1/flatten", endpoints.stop(operations.flatten), methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: make_error_handler(_http_error),
            Exception: make_error_handler(_server_error),
        },
    )
    app.router.redirect_slashes = False
    return _Guard(app, token=token, allowed_hosts=frozenset(h.lower() for h in allowed_hosts))


class _Guard:
    """A middleware that checks Host and, where needed, token of each HTTP request."""

    def __init__(self, app: ASGIApp, *, token: str | None, allowed_hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            error = self._check_request(scope)
            if error is not None:
                await error(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check_request(self, scope: Scope) -> FixedResponse | None:
        """Return the error for a request with a wrong Host or token; None if allowed."""
        hosts = _header_values(scope, b"host")
        authorizations = _header_values(scope, b"authorization")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._allowed_hosts:
            return _json(
                {"error": "send one Host header with a name of this listener, such as localhost"},
                421,
            )
        if self._token is None or scope["path"] in OPEN_PATHS:
            return None
        if len(authorizations) != 1 or not token_matches(authorizations[0], self._token):
            return _json(
                {"error": "send one header with the run's token: Authorization: Bearer TOKEN"},
                401,
                {"www-authenticate": 'Bearer realm="kamou"'},
            )
        return None


@attrs.frozen
class _Endpoints:
    operations: Operations
    token: str | None

    async def proof(self, request: Request) -> FixedResponse:
        """Prove that this listener knows the token, before the client sends it.

        An invalid nonce gets 400. On the Unix socket, which has no token, the response is 404.
        """
        if self.token is None:
            return _json({"error": "the Unix socket needs no proof; check its peer instead"}, 404)
        proof = make_proof(self.token, request.query_params.get("nonce", ""))
        if proof is None:
            return _json({"error": "nonce must be 32 lower-case hexadecimal digits"}, 400)
        return _json({"proof": proof})

    async def healthz(self, _request: Request) -> FixedResponse:
        """Respond with 200, which shows that the event loop is not blocked."""
        return _json({"alive": True})

    async def readyz(self, _request: Request) -> FixedResponse:
        """Report readiness, phase, trading state and site failures; 503 if not ready."""
        reasons = list(self.operations.not_ready())
        status = self.operations.status()
        found = {
            "ready": not reasons,
            "message": _readiness(reasons, status),
            "phase": status.get("phase"),
            "state": status.get("state"),
            "state_reason": status.get("state_reason") or None,
            "reasons": reasons,
            "degraded": list(self.operations.degraded()),
        }
        return _json(found, 503 if reasons else 200)

    async def metrics(self, _request: Request) -> FixedResponse:
        text = exposition(self.operations.snapshot(), self.operations.status())
        return make_response(text.encode(), CONTENT_TYPE, cache=NEVER)

    async def status(self, _request: Request) -> FixedResponse:
        await self.operations.refresh()
        operations = self.operations
        health = {"not_ready": operations.not_ready(), "degraded": operations.degraded()}
        return _json({**operations.status(), **health, "supervision": operations.snapshot()})

    def stop(self, act: OperatorCommand) -> Callable[[Request], Awaitable[FixedResponse]]:
        """Return the endpoint of a halt or a flatten, which shortens a long reason.

        The reason of a body of over ``BODY_BYTES_MAX`` bytes is left out. A body of another form
        than ``CommandBody`` fails with 400.
        """

        async def endpoint(request: Request) -> FixedResponse:
            body = await _body(request)
            if body is None:
                warning = f"the body has over {BODY_BYTES_MAX} bytes: its reason was left out"
                return await _run_command(act, "", warning)
            reason, warning = shorten_reason(_decode_reason(body))
            return await _run_command(act, reason, warning)

        return endpoint

    def resume(self, act: OperatorCommand) -> Callable[[Request], Awaitable[FixedResponse]]:
        """Return the endpoint of a resume, which does not shorten a reason.

        A body of over ``BODY_BYTES_MAX`` bytes fails with 413. A longer reason than
        ``REASON_CHARS_MAX``, or a body of another form than ``CommandBody``, fails with 400.
        """

        async def endpoint(request: Request) -> FixedResponse:
            body = await _body(request)
            if body is None:
                raise HTTPException(
                    413, f"the body has over {BODY_BYTES_MAX} bytes; send a shorter reason"
                )
            reason = _decode_reason(body)
            if excess := describe_excess(reason):
                raise HTTPException(400, excess)
            return await _run_command(act, reason, "")

        return endpoint


def _readiness(reasons: Sequence[str], status: Mapping[str, Any]) -> str:
    """Return readiness and trading state in one sentence.

    A halt alone does not make a run unready.
    """
    state, why = status.get("state"), status.get("state_reason")
    words = f"trading state {state}" if state else ""
    if state and why:
        words += f" ({state_cause(state, why)})"
    if state in HALT_STATES:
        words += ", no entry is allowed"
    if reasons:
        return f"not ready: {'; '.join([*reasons, *([words] if words else [])])}"
    return f"ready; {words}" if words else "ready"


async def _run_command(act: OperatorCommand, reason: str, warning: str) -> FixedResponse:
    """Return the command's response, with a warning if there is one, or its error.

    The status is 504 if the command did not answer in time, and 503 after another ``KamouError``.
    """
    try:
        answer = await act(reason)
    except TimedOutError as error:
        return _json({"error": str(error)}, 504)
    except KamouError as error:
        return _json({"error": str(error)}, 503)
    return _json({**answer, "warning": warning} if warning else answer)


async def _body(request: Request) -> bytes | None:
    """Return the body of a command; None if it, or its declared length, is too long.

    The limit is ``BODY_BYTES_MAX``. A Content-Length that is no number counts as too long.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > BODY_BYTES_MAX:
        return None
    body = b""
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:  # a body may come in chunks, without a declared length
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return None
    return body


def _decode_reason(body: bytes) -> str:
    """Return the reason in the body; empty without one.

    Raises:
        HTTPException: 400 if the body is not a ``CommandBody``.
    """
    if not body:
        return ""
    try:
        return msgspec.json.decode(body, type=CommandBody).reason.strip()
    except ValueError as error:  # of msgspec, or of a text that is not UTF-8
        raise HTTPException(400, f'the body is not {{"reason": "..."}}: {error}') from error


async def _http_error(_request: Request, error: Exception) -> FixedResponse:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail}, error.status_code, dict(error.headers or {}))


async def _server_error(_request: Request, error: Exception) -> FixedResponse:
    return _json({"error": f"{type(error).__name__}: {error}"}, 500)


def _json(
    data: Mapping[str, Any], status: int = 200, extra: Mapping[str, str] | None = None
) -> FixedResponse:
    body = msgspec.json.encode(data)
    return make_response(body, JSON, status=status, cache=NEVER, extra=extra)


def _header_values(scope: Scope, header: bytes) -> list[str]:
    """Return all values of one header.

    The caller answers 421 to two Hosts, and 401 to two tokens where a token is needed.
    """
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def _host_name(host: str) -> str | None:
    """Return the lower-case name in a Host header, without port; None if invalid.

    Only digits may follow the colon, because ``127.0.0.1:x.evil.com`` names another host.
    """
    found = HOST.fullmatch(host)
    return None if found is None else found[1].lower()
