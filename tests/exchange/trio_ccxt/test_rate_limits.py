"""Quotas: judged by summing what was let through in every window, apart from the bucket's code."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kamou.clock import JumpClock, SimulatedClock
from kamou.errors import RateLimitedError
from kamou.exchange.trio_ccxt.kucoin_limits import PoolName, measure_demand
from kamou.exchange.trio_ccxt.rate_limits import (
    PAUSE_MS,
    PAUSE_MS_MAX,
    RESET_HEADER,
    UNITS_HEADER,
    WAITING_MAX,
    QuotaPool,
)
from tests.exchange.trio_ccxt.kucoin_server import Answer, success
from tests.exchange.trio_ccxt.test_kucoin_futures import BITCOIN, KEYS, connected

START_MS = 1_700_000_000_000
WINDOW_MS = 30_000
QUOTA = 2_000
Sent = list[tuple[int, int, bool]]  # time in ms, weight, urgent


def send_all(requests: list[tuple[int, int, bool]]) -> Sent:
    """Ask for each request after its delay in ms, all at the same time; return what went out."""
    sent: Sent = []

    async def main() -> None:
        clock = SimulatedClock(START_MS)
        pool = QuotaPool(QUOTA, WINDOW_MS, clock)

        async def ask(delay_ms: int, weight: int, urgent: bool) -> None:
            await clock.sleep_until(START_MS + delay_ms)
            await pool.acquire(weight, urgent=urgent)
            sent.append((clock.now_ms(), weight, urgent))

        async with trio.open_nursery() as nursery:
            for request in requests:
                nursery.start_soon(ask, *request)

    trio.run(main, clock=JumpClock())
    return sent


REQUESTS = st.lists(
    st.tuples(st.integers(0, 90_000), st.integers(1, 60), st.booleans()), max_size=150
)


@given(REQUESTS)
def test_no_window_has_more_than_the_quota_and_every_request_goes_out(
    requests: list[tuple[int, int, bool]],
) -> None:
    sent = send_all(requests)
    assert len(sent) == len(requests)
    for start, _, _ in sent:
        inside = sum(weight for at, weight, _ in sent if start <= at < start + WINDOW_MS)
        assert inside <= QUOTA


def test_a_flood_goes_out_at_the_rate_of_the_quota_and_not_slower() -> None:
    sent = send_all([(0, 20, False)] * 400)  # 8,000 units
    assert max(at for at, _, _ in sent) - START_MS <= (8_000 - 400) / 1_500 * WINDOW_MS + 1
    for start, _, _ in sent:
        assert sum(w for at, w, _ in sent if start <= at < start + WINDOW_MS) <= QUOTA


def test_stops_and_cancels_do_not_wait_behind_a_flood_of_reads() -> None:
    sent = send_all([(0, 20, False)] * 300 + [(5_000, 2, True)] * 40)
    urgent = [at for at, _, is_urgent in sent if is_urgent]
    assert urgent == [START_MS + 5_000] * 40
    assert max(at for at, _, _ in sent) > START_MS + 30_000


def test_a_weight_above_the_bucket_waits_for_the_whole_bucket_only() -> None:
    assert send_all([(0, 800, False), (90_000, 800, True)]) == [
        (START_MS, 800, False),
        (START_MS + 90_000, 800, True),
    ]


def run_paused(status: int, headers: dict[str, str], weight: int = 1) -> int:
    """Return how long in ms an urgent request waits after a response."""

    async def main() -> int:
        clock = SimulatedClock(START_MS)
        pool = QuotaPool(QUOTA, WINDOW_MS, clock)
        pool.note_response(status, headers)
        await pool.acquire(weight, urgent=True)
        return clock.now_ms() - START_MS

    return trio.run(main, clock=JumpClock())


@pytest.mark.parametrize(
    ("status", "headers", "wait_ms"),
    [
        (429, {RESET_HEADER: "7500"}, 7_500),
        (429, {}, PAUSE_MS),
        (429, {RESET_HEADER: "99999999"}, PAUSE_MS_MAX),
        (429, {RESET_HEADER: "-5"}, PAUSE_MS),
        (429, {RESET_HEADER: "NaN"}, PAUSE_MS),
        (200, {RESET_HEADER: "7500"}, 0),
        (200, {UNITS_HEADER: "1999"}, 0),
        (200, {UNITS_HEADER: "0"}, 20),  # a unit is refilled in 30,000 / 1,500 ms
        (200, {UNITS_HEADER: "many"}, 0),
    ],
)
def test_a_request_waits_as_the_headers_say(
    status: int, headers: dict[str, str], wait_ms: int
) -> None:
    assert run_paused(status, headers) == wait_ms


def test_a_lane_that_is_full_refuses_at_once() -> None:
    async def main() -> None:
        pool = QuotaPool(1, WINDOW_MS, SimulatedClock(START_MS))
        async with trio.open_nursery() as nursery:
            for count in (WAITING_MAX, 2):  # the first goes out, the second waits for units
                for _ in range(count):
                    nursery.start_soon(lambda: pool.acquire(1, urgent=False))
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RateLimitedError):
                await pool.acquire(1, urgent=False)
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize(
    ("api", "method", "path", "params", "urgent"),
    [
        ("futuresPrivate", "DELETE", "orders/{orderId}", {}, True),
        ("futuresPrivate", "DELETE", "stopOrders", {}, True),
        ("futuresPrivate", "POST", "st-orders", {}, True),
        ("futuresPrivate", "POST", "orders", {"stop": "down"}, True),
        ("futuresPrivate", "POST", "orders", {"reduceOnly": True}, True),
        ("futuresPrivate", "POST", "orders", {"closeOrder": True}, True),
        ("futuresPrivate", "POST", "orders", {"reduceOnly": False}, False),
        ("futuresPrivate", "GET", "stopOrders", {"stop": True}, False),
        ("futuresPublic", "GET", "kline/query", {}, False),
    ],
)
def test_cancels_stops_and_reducing_orders_are_urgent(
    api: str, method: str, path: str, params: dict[str, object], urgent: bool
) -> None:
    assert measure_demand(api, method, path, params, 4).urgent is urgent


async def test_a_rejected_request_holds_the_next_one_back_for_the_time_of_its_header(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with connected(KEYS) as (server, exchange):
        await exchange.load_markets()
        limited = Answer(
            b'{"code": "429000", "msg": "Too Many Requests"}', 429, {RESET_HEADER: "4000"}
        )
        server.rules["DELETE", "/api/v1/orders/1"] = lambda _: limited
        with pytest.raises(Exception, match="429000"):
            await exchange.cancel_order("1", BITCOIN)
        server.rules["DELETE", "/api/v1/orders/1"] = lambda _: success({"cancelledOrderIds": ["1"]})
        done = trio.Event()

        async def cancel() -> None:
            await exchange.cancel_order("1", BITCOIN)
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await trio.testing.wait_all_tasks_blocked()
            assert len(server.requests) == 2
            mock_clock.jump(4.001)
            await done.wait()
        stamp = int(server.requests[-1].headers["kc-api-timestamp"])
        assert stamp >= int(server.requests[1].headers["kc-api-timestamp"]) + 4_000


@pytest.mark.real
@pytest.mark.skipif("KAMOU_SHARED" not in os.environ, reason="KAMOU_SHARED is not set")
async def test_pools_and_weights_are_those_of_kucoins_specification() -> None:
    folder = Path(os.environ["KAMOU_SHARED"]) / "data" / "fixtures" / "kucoin_universal_sdk_spec"
    stated: dict[tuple[str, str], tuple[str, int]] = {}
    for path in folder.glob("rest_api_openapi-futures-*"):
        data = path.read_bytes()
        document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
        for name, methods in document["paths"].items():
            for method, spec in methods.items():
                if spec.get("x-abandon") == "normal" and spec.get("x-api-rate-limit-weight"):
                    stated[method.upper(), name.removeprefix("/api/v1/").removeprefix("/")] = (
                        spec["x-api-rate-limit-pool"],
                        spec["x-api-rate-limit-weight"],
                    )
    found: dict[tuple[str, str], tuple[str, int]] = {}
    async with connected() as (_, exchange):
        endpoints: dict[str, dict[str, Any]] = exchange.api
        for api in ("futuresPublic", "futuresPrivate"):
            for method, paths in endpoints[api].items():
                for path_name, config in paths.items():
                    cost = config["cost"] if isinstance(config, dict) else config
                    demand = measure_demand(api, method.upper(), path_name, {}, cost)
                    found[method.upper(), path_name] = (demand.pool.value, demand.weight)
    both = stated.keys() & found.keys()
    assert len(both) > 25
    differ = {each: (stated[each], found[each]) for each in both if stated[each] != found[each]}
    assert differ == {}, differ
    assert {pool for pool, _ in found.values()} == {
        PoolName.PUBLIC.value,
        PoolName.FUTURES.value,
    }
