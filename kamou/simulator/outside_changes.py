"""External withdrawals in a simulated world, and when the system must know of them."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.venue.checker import Silence

KNOWN_AFTER_MS = 150_000  # two cycles and their reads: what is so old has been seen


@attrs.define
class OutsideChanges:
    """Withdrawals, and when a change by others must be known. Times are true ones.

    The account tells of them while it can be read. While it cannot, the system may act on what it
    read last, until that is ``age_max_ms`` old (seed 700202 at abbf610: a withdrawal, then three
    minutes of failing reads).
    """

    silent_ms: Silence
    age_max_ms: int  # of an account read that entries may rest on
    _withdrawals: list[tuple[int, Decimal]] = attrs.Factory(list)  # when, how much (> 0)

    def known(self, changed_ms: int, now_ms: int) -> bool:
        """Whether the system must know at ``now_ms`` what others did at ``changed_ms``."""
        age_ms = now_ms - changed_ms
        readable_ms = age_ms - self.silent_ms("", changed_ms, now_ms)
        return readable_ms > KNOWN_AFTER_MS or age_ms > self.age_max_ms + KNOWN_AFTER_MS

    def withdrawn(self, at_ms: int, amount: Decimal) -> None:
        """Money left: ``amount`` > 0."""
        self._withdrawals.append((at_ms, amount))

    def unknown(self, now_ms: int) -> Decimal:
        """Money that left and may still be in the figures that the system acts on."""
        return sum(
            (amount for at_ms, amount in self._withdrawals if not self.known(at_ms, now_ms)),
            Decimal(0),
        )
