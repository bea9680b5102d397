"""KuCoin's quotas of VIP level 0, and what a request asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from kamou.clock import Clock
from kamou.exchange.trio_ccxt.rate_limits import QuotaPool

QUOTA_WINDOW_MS = 30_000
# ccxt states all costs in units of the spot pool; the other pools have half as many units.
CCXT_UNITS = 2


class PoolName(Enum):
    """KuCoin's names of its pools."""

    PUBLIC = "Public"
    FUTURES = "Futures"
    MANAGEMENT = "Management"
    SPOT = "Spot"


QUOTAS = {  # units in 30 s
    PoolName.PUBLIC: 2_000,
    PoolName.FUTURES: 2_000,
    PoolName.MANAGEMENT: 2_000,
    PoolName.SPOT: 4_000,
}

# Pool and weight in KuCoin's specification where ccxt has another cost.
STATED = {
    ("POST", "orders/multi"): (PoolName.FUTURES, 20),
    ("POST", "position/risk-limit-level/change"): (PoolName.FUTURES, 5),
    ("POST", "margin/withdrawMargin"): (PoolName.FUTURES, 10),
    ("GET", "trade-statistics"): (PoolName.FUTURES, 3),
    ("GET", "contracts/risk-limit/{symbol}"): (PoolName.PUBLIC, 5),
}


@attrs.frozen
class Demand:
    """What a request asks of the quotas."""

    pool: PoolName
    weight: int
    urgent: bool


def measure_demand(
    api: str, method: str, path: str, params: Mapping[str, object], cost: float
) -> Demand:
    """Return a request's pool, weight and lane.

    Urgent are cancellations and orders that are stops or can only reduce.

    Args:
        api: ccxt's section of the endpoint, such as ``futuresPrivate``.
        method: of HTTP.
        path: ccxt's pattern, such as ``orders/{orderId}``.
        params: of the request, as KuCoin names them.
        cost: ccxt's.
    """
    if api in ("public", "futuresPublic"):
        pool = PoolName.PUBLIC
    elif api == "futuresPrivate":
        pool = PoolName.FUTURES
    elif path.startswith(("hf/", "margin/", "isolated/", "orders", "fills", "bullet-private")):
        pool = PoolName.SPOT
    else:
        pool = PoolName.MANAGEMENT
    divisor = 1 if pool is PoolName.SPOT or api == "public" else CCXT_UNITS
    reducing = any(params.get(name) for name in ("stop", "reduceOnly", "closeOrder"))
    urgent = method == "DELETE" or (method == "POST" and (path == "st-orders" or reducing))
    weight = max(1, -int(-cost // divisor))
    if api.startswith("futures"):
        pool, weight = STATED.get((method, path), (pool, weight))
    return Demand(pool, weight, urgent)


def make_pools(clock: Clock) -> dict[PoolName, QuotaPool]:
    """Return a full pool for each name."""
    return {name: QuotaPool(quota, QUOTA_WINDOW_MS, clock) for name, quota in QUOTAS.items()}
