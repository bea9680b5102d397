"""ccxt's recorded requests and responses of KuCoin Futures go through the transport."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.exchange.trio_ccxt.kucoin_server import Answer, Request, contract, success
from tests.exchange.trio_ccxt.test_kucoin_futures import KEYS, connected

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("KAMOU_SHARED" not in os.environ, reason="KAMOU_SHARED is not set"),
]

ORIGIN = "https://api-futures.kucoin.com/api/v1"
CONTRACTS = [
    {**contract(f"{base}USDTM", base, 0.1), "tickSize": 0.01} for base in ("LTC", "ADA", "XBT")
]

# ccxt sends these instead since the recording was made.
CHANGED_SINCE = {
    "/fills?symbol=LTCUSDTM&startAt=1699457638000": (
        "/fills?symbol=LTCUSDTM&startAt=1699457638000&pageSize=5"
    ),
    "/account-overview?currency=USDT&type=swap": "/account-overview?currency=USDT",
    "/orders/?clientOid=2234567890": "/orders/byClientOid?clientOid=2234567890",
}


def recorded(name: str) -> dict[str, list[dict[str, Any]]]:
    folder = Path(os.environ["KAMOU_SHARED"]) / "data" / "fixtures" / "ccxt"
    methods = json.loads((folder / f"kucoinfutures_{name}.json").read_text())["methods"]
    assert isinstance(methods, dict)
    return methods


def python_name(method: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.replace("OHLCV", "Ohlcv")).lower()


def expected_verb(method: str) -> str:
    if method.startswith("cancel"):
        return "DELETE"
    return "GET" if method.startswith("fetch") else "POST"


def without_ids(body: object) -> object:
    if isinstance(body, list):
        return [without_ids(each) for each in body]
    assert isinstance(body, dict)
    return {key: value for key, value in body.items() if key != "clientOid"}


async def test_each_recorded_request_has_its_url_method_and_body() -> None:
    count = 0
    async with connected(KEYS) as (server, exchange):
        server.rules["GET", "/api/v1/contracts/active"] = lambda _: success(CONTRACTS)
        await exchange.load_markets()
        server.every = lambda _: success({})
        for method, cases in recorded("request").items():
            for case in cases:
                before = len(server.requests)
                # The answer is empty, so its parser may fail; only the request counts.
                with suppress(KeyError, TypeError, AttributeError):
                    await getattr(exchange, python_name(method))(*case["input"])
                sent = server.requests[before]
                assert len(server.requests) == before + 1
                path = case["url"].removeprefix(ORIGIN)
                expected = CHANGED_SINCE.get(path, path)
                assert (sent.method, sent.target.removeprefix("/api/v1")) == (
                    expected_verb(method),
                    expected,
                )
                if "output" in case:
                    assert without_ids(json.loads(sent.body)) == without_ids(case["output"])
                else:
                    assert sent.body == b""
                count += 1
    assert count == 18


async def test_each_recorded_response_is_parsed() -> None:
    parsed = {}
    async with connected(KEYS) as (server, exchange):
        server.rules["GET", "/api/v1/contracts/active"] = lambda _: success(CONTRACTS)
        await exchange.load_markets()
        for method, [case] in recorded("response").items():
            body = json.dumps(case["httpResponse"]).encode()

            def answer(_: Request, body: bytes = body) -> Answer:
                return Answer(body)

            server.every = answer
            parsed[method] = await getattr(exchange, python_name(method))(*case["input"])
    assert {type(each["symbol"]) for each in parsed["fetchOpenOrders"]} == {str}
    assert parsed["fetchOpenOrders"][0]["id"] == "114606863965757440"
    assert parsed["fetchOpenOrders"][0]["price"] == 50.0
    assert set(parsed) == set(recorded("response"))
    assert all(parsed.values())
