"""The governor's answer. ``Approved`` is a one-use capability, not a value to build or copy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn
from weakref import WeakSet

import attrs

from kamou.core.model import Denial, Plan, Side

_MINT = object()


class Approved:
    """Permission for one entry: this symbol, side, at most this quantity, this stop, until then.

    Only ``core/risk/governor.py`` makes one (``_mint``). It can be neither constructed, copied
    nor pickled, and the port refuses any that was not minted here or whose committed permit row
    is missing, different or used.
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
            raise TypeError("an Approved is made by the risk governor only")
        fix = object.__setattr__
        fix(self, "permit_id", plan.permit_id)
        fix(self, "symbol", plan.symbol)
        fix(self, "side", plan.side)
        fix(self, "quantity_max", plan.quantity)
        fix(self, "stop_price", plan.stop_price)
        fix(self, "snapshot_seq", snapshot_seq)
        fix(self, "expires_at_ms", expires_at_ms)
        _GENUINE.add(self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Approved does not change: {name}")

    def __copy__(self) -> NoReturn:
        raise TypeError("an Approved cannot be copied")

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        raise TypeError("an Approved cannot be copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Approved cannot be pickled")

    def __repr__(self) -> str:
        return f"<Approved {self.permit_id} {self.side.value} {self.quantity_max} {self.symbol}>"


_GENUINE: WeakSet[Approved] = WeakSet()


def is_genuine(approved: object) -> bool:
    """Whether this very object was minted by the governor of this process."""
    return type(approved) is Approved and approved in _GENUINE


@attrs.frozen(kw_only=True)
class Denied:
    """The governor's no, with every rule's reason."""

    permit_id: str
    denials: tuple[Denial, ...]


Verdict = Approved | Denied
