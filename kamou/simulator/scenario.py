"""The scenario, which has the parameters of one simulation."""

from __future__ import annotations

import attrs

from kamou.simulator.faults import draw_faults


@attrs.frozen(kw_only=True)
class Scenario:
    """The parameters of one simulation.

    If ``faults`` is None, the seed draws them.
    """

    seed: int
    hours: float = 1.0
    symbols: int = 5
    faults: frozenset[str] | None = None
    until_hours: float | None = None  # the same simulation with an earlier convergence phase
    keep_trace: bool = False
    seeded: bool = True  # False only in the test that runs are then not repeatable

    @property
    def on(self) -> frozenset[str]:
        """Names of the faults that are switched on."""
        return draw_faults(self.seed) if self.faults is None else self.faults
