"""The scenario, which has the parameters of one simulation."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kamou.simulator.faults import FaultName, draw_faults


def _named(faults: Iterable[str] | None) -> frozenset[FaultName] | None:
    """Return the faults of these names; raise a ``ValueError`` for any other name."""
    return None if faults is None else frozenset(map(FaultName, faults))


@attrs.frozen(kw_only=True)
class Scenario:
    """The parameters of one simulation.

    If ``faults`` is None, the seed draws them.
    """

    seed: int
    hours: float = 1.0
    symbols: int = 5
    faults: frozenset[FaultName] | None = attrs.field(default=None, converter=_named)
    until_hours: float | None = None  # the same simulation with an earlier convergence phase
    keep_trace: bool = False  # True: the result has the lines of the trace
    seeded: bool = True  # False: Trio's scheduler has no seed, for a test of repeatability

    @property
    def on(self) -> frozenset[FaultName]:
        """Names of the faults that are switched on."""
        return draw_faults(self.seed) if self.faults is None else self.faults
