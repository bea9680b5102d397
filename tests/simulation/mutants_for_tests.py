"""Defects that survived every test once, each with the tests that notice it now.

Simulations do not judge these: a second guard hides some of the defects there, and no simulation
runs the kill switch.
"""

from __future__ import annotations

from functools import partial

from tests.simulation.mutants import Mutant

BUDGET = "tests/core/risk/test_day_budget.py"
SIDES = "tests/core/risk/test_both_sides.py"
RESUME = "tests/core/risk/test_resume.py"
EQUITY = "kamou/core/risk/equity.py"
EXPOSURE = "kamou/core/risk/exposure.py"
STATES = "kamou/core/risk/states.py"
SUPERVISOR = "kamou/supervisor.py"
COUNTING = "tests/test_supervisor_counting.py"
survivor = partial(Mutant, faults="", seeds=1, notices=())

FOR_TESTS = (
    survivor(
        name="flatten sends the signed quantity, so shorts stay open",
        file="kamou/runs/flatten.py",
        old="        quantity=abs(position.quantity),\n",
        new="        quantity=position.quantity,\n",
        tests=("tests/runs/test_kill_switch.py",),
    ),
    survivor(
        name="limits are fractions of equity, whatever the wallet balance is",
        file=EQUITY,
        old="        return min(self.equity, self.wallet_balance)\n",
        new="        return self.equity\n",
        tests=(SIDES,),
    ),
    survivor(
        name="adopted positions are sized on equity, whatever the wallet balance is",
        file="kamou/core/reconciliation/reconciliation.py",
        old="sizing_equity=min(account.equity, account.wallet_balance)",
        new="sizing_equity=account.equity",
        tests=(SIDES,),
    ),
    survivor(
        name="the daily budget leaves out deposits and withdrawals",
        file="kamou/core/book/position_book.py",
        old="            net_deposits=net_deposits,\n",
        new="            net_deposits=ZERO,\n",
        tests=(BUDGET,),
    ),
    survivor(
        name="a resume passes in spite of drift",
        file=STATES,
        old="""    if book.reconciliation.drifting:
        return "the book and the exchange differ"
""",
        new="",
        tests=(RESUME,),
    ),
    survivor(
        name="a resume passes on an old read of the equity",
        file=STATES,
        old='or overdue_ms(read, limits, now_ms) > 0:\n        return "account or',
        new=':\n        return "account or',
        tests=(RESUME,),
    ),
    survivor(
        name="funding is settled on the entry price",
        file="kamou/venue/account.py",
        old="abs(position.quantity) * self.view.mark(position) * size",
        new="abs(position.quantity) * position.entry_price * size",
        tests=("tests/venue/test_venue_paths.py",),
    ),
    survivor(
        name="orders in flight are canceled as orphan orders",
        file="kamou/core/reconciliation/orphan_orders.py",
        old=" or order.created_at_ms > late_ms:",
        new=":",
        tests=("tests/core/reconciliation/test_reconciliation.py",),
    ),
    survivor(
        name="fills and income are asked for without an overlap",
        file="kamou/core/book/retention.py",
        old="OVERLAP_MS = 300_000",
        new="OVERLAP_MS = 0",
        tests=("tests/actors/test_overlap.py",),
    ),
    survivor(
        name="fills alone are asked for without an overlap",
        file="kamou/actors/reconciler.py",
        old="await port.fills(since_ms)",
        new="await port.fills(book.reconciliation.clean_at_ms)",
        tests=("tests/actors/test_overlap.py",),
    ),
    survivor(
        name="a hedge counts as more of the same direction",
        file=EXPOSURE,
        old="        held += trade.notional(mark) * trade.side.sign\n",
        new="        held += trade.notional(mark)\n",
        tests=(SIDES,),
    ),
    survivor(
        name="a permitted entry counts as a hedge",
        file=EXPOSURE,
        old="net_notional={side: held + signed for side, signed in reserved.items()},",
        new="net_notional=dict.fromkeys(reserved, held + sum(reserved.values())),",
        tests=(SIDES,),
    ),
    survivor(
        name="the headroom for the shock is that of a long",
        file=EXPOSURE,
        old="- exposure.net_notional[side] * side.sign",
        new="- exposure.net_notional[side]",
        tests=(SIDES,),
    ),
    survivor(
        name="the cluster of one direction counts the other",
        file=EXPOSURE,
        old="            cluster[side] += risk\n",
        new="            cluster[Side.LONG] += risk\n",
        tests=(SIDES,),
    ),
    survivor(
        name="a short has no open risk",
        file=EXPOSURE,
        old="trade.side.loss(mark, trade.stop_price)",
        new="mark - trade.stop_price",
        tests=(SIDES,),
    ),
    survivor(
        name="a crash that is part of a restart counts",
        file=SUPERVISOR,
        old="expected = incarnation.covered or self._closing",
        new="expected = self._closing",
        tests=(COUNTING,),
    ),
    survivor(
        name="a crash of a restarted child is part of the restart while siblings start",
        file=SUPERVISOR,
        old="expected = incarnation.covered or self._closing",
        new="expected = any(c.recovery for c in self._children if c is not child) or self._closing",
        tests=(COUNTING,),
    ),
    survivor(
        name="a restart exactly one period ago is forgotten",
        file=SUPERVISOR,
        old="while self._restarts[0][0] < now_s",
        new="while self._restarts[0][0] <= now_s",
        tests=("tests/test_supervisor_together.py",),
    ),
)
