"""Client of an ASGI application for tests, and calls without a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx

Client = Callable[[Any], AbstractAsyncContextManager[httpx.AsyncClient]]


async def inline(function: Callable[..., Any], *args: object) -> Any:
    """Run a function in place, without a thread."""
    return function(*args)


@asynccontextmanager
async def connect(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a local client; an error in the application becomes a response."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made
