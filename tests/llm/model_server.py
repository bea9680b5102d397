"""A chat completions endpoint on loopback, served by Kamou's own server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kamou.core.refining.budget import TokenPrices
from kamou.core.refining.calls import Question
from kamou.core.refining.prompt import RequestTerms, make_prompt
from kamou.http.server import Listener, Server
from kamou.llm.client import ChatClient, open_client
from kamou.settings.secrets import Secret
from tests.refining_cases import APPROVAL, MODEL, candidate, completion, written

KEY = "sk-right"
PRICES = TokenPrices(input_usd=Decimal(10), output_usd=Decimal(30))
Answer = Callable[[Request], Awaitable[Response]]


def question(symbol: str = "SOLUSDT") -> Question:
    wanted = candidate(symbol)
    prompt = make_prompt(wanted, 1)
    return Question(signal_id=wanted.signal_id, prompt=prompt, reserved_usd=Decimal(1))


@attrs.define
class Endpoint:
    """An endpoint that checks the key and answers with ``reply``."""

    reply: Any = attrs.Factory(lambda: completion(written(APPROVAL)))  # document, bytes, response
    answer: Answer | None = None  # instead of ``reply``
    bodies: list[dict[str, Any]] = attrs.Factory(list)
    asked: trio.Event = attrs.Factory(trio.Event)
    ended: trio.Event = attrs.Factory(trio.Event)

    async def handle(self, request: Request) -> Response:
        self.bodies.append(json.loads(await request.body()))
        self.asked.set()
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": "bad key sk-wr***"}}, 401)
        if self.answer is not None:
            try:
                return await self.answer(request)
            finally:
                self.ended.set()
        if isinstance(self.reply, Response):
            return self.reply
        if isinstance(self.reply, bytes):
            return Response(self.reply, media_type="application/json")
        return JSONResponse(self.reply)


@asynccontextmanager
async def serving(endpoint: Endpoint) -> AsyncIterator[int]:
    """Serve the endpoint and yield its port."""
    app = Starlette(routes=[Route("/v1/chat/completions", endpoint.handle, methods=["POST"])])
    async with trio.open_nursery() as nursery:
        server = Server(
            Listener(app=app, host="127.0.0.1", port=0, setting="web.port", option="--port")
        )
        await nursery.start(server.run)
        yield server.bound_port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    port: int, *, key: str = KEY, scheme: str = "http", logprobs: bool = False
) -> AsyncIterator[ChatClient]:
    """Open a client of the endpoint at this port."""
    terms = RequestTerms(model=MODEL, max_output_tokens=256, logprobs=logprobs)
    url = f"{scheme}://127.0.0.1:{port}/v1"
    async with open_client(url=url, key=Secret(key), terms=terms, prices=PRICES) as client:
        yield client
