"""Defects of the order flow that is gathered from a stream."""

from __future__ import annotations

from functools import partial

from kamou.venue.violations import HardRule
from tests.simulation.mutants import Mutant

STREAM = "kamou/core/market/flow_stream.py"
simulated = partial(
    Mutant, faults="flow_trouble,half_open", hours=0.5, notices=(HardRule.ORDER_FLOW,)
)

ORDER_FLOW = (
    simulated(
        name="a gap between two batches of a stream is not noticed",
        file=STREAM,
        old="        gap = batch.since_ms != self._reached_ms\n",
        new="        gap = self._reached_ms is None\n",
    ),
    simulated(
        name="quotes of another time than their batch count",
        file=STREAM,
        old="            self._gatherer.interrupt(misplaced)\n",
        new="",
    ),
    simulated(
        name="a window that closes late has the figures of what came",
        file=STREAM,
        old="""            self._gatherer.interrupt(self._all)
            closed.append(self._close())
""",
        new="""            closed.append(self._close())
""",
    ),
    simulated(
        name="a crossed quote counts",
        file="kamou/core/market/flow_gatherer.py",
        old='        sound = (best["bid"] < best["ask"]) & (best["bid_qty"] > 0)',
        new='        sound = (best["bid"] > 0) & (best["bid_qty"] > 0)',
    ),
)
