"""Verdicts ``Approved`` and ``Denied``, and the check that an Approved is genuine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn
from weakref import WeakSet

import attrs

from kamou.core.model import Denial, Plan, Side

_MINT = object()


class Approved:
    """Permission for one entry: its symbol, side, maximum quantity, stop and expiry.

    Only ``core/risk/governor.py`` makes one, with ``_MINT``. Making one without it, copying and
    pickling raise TypeError; setting a field raises AttributeError. The exchange port denies an
    entry whose ``Approved`` was not made by the governor of this process, differs from the entry or
    has expired, or whose committed permit is missing, different, used or released.
    """

    __slots__ = (
        "__weakref__",
        "expires_at_ms",
        "permit_id",
        "quantity_max",
        "side",
        "snapshot_seq",
        "stop_price",
        "symbol",
    )

    permit_id: str
    symbol: str
    side: Side
    quantity_max: Decimal
    stop_price: Decimal
    snapshot_seq: int
    expires_at_ms: int

    def __init__(self, *, mint: object, plan: Plan, snapshot_seq: int, expires_at_ms: int) -> None:
        if mint is not _MINT:
            raise TypeError(
                f"permit {plan.permit_id}: only the risk governor makes an Approved; "
                "request a review of the plan"
            )
        set_once = object.__setattr__
        set_once(self, "permit_id", plan.permit_id)
        set_once(self, "symbol", plan.symbol)
        set_once(self, "side", plan.side)
        set_once(self, "quantity_max", plan.quantity)
        set_once(self, "stop_price", plan.stop_price)
        set_once(self, "snapshot_seq", snapshot_seq)
        set_once(self, "expires_at_ms", expires_at_ms)
        _GENUINE.add(self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"{name} of the Approved of permit {self.permit_id} cannot be set; request another"
            " review"
        )

    def __copy__(self) -> NoReturn:
        raise TypeError(
            f"the Approved of permit {self.permit_id} cannot be copied; pass the object itself"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        raise TypeError(
            f"the Approved of permit {self.permit_id} cannot be copied; pass the object itself"
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"the Approved of permit {self.permit_id} cannot be pickled; use it in this process"
        )

    def __repr__(self) -> str:
        return f"<Approved {self.permit_id} {self.side} {self.quantity_max} {self.symbol}>"


_GENUINE: WeakSet[Approved] = WeakSet()


def is_genuine(approved: object) -> bool:
    """Return True if the governor of this process made this object."""
    return type(approved) is Approved and approved in _GENUINE


@attrs.frozen(kw_only=True)
class Denied:
    """Denial of a plan, by the governor or because the governor did not review it."""

    permit_id: str
    denials: tuple[Denial, ...]


Verdict = Approved | Denied
