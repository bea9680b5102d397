"""The defects that a rule must report, each a change in one place of the product.

``make mutants`` puts each one into a copy and runs simulations until a rule reports it; tests
judge the defects that no simulation can reach.
A change whose old text is not found exactly once is an error: the table follows the source.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from kamou.venue.violations import HardRule

ALL = "all"  # each seed draws its own faults


class TrialRule(StrEnum):
    """What only the trial of a mutant can report; no simulation reports it by itself."""

    IDLE = "IDLE"  # all simulations passed, and the system did not trade
    SPINS = "SPINS"  # the simulations did not end


@attrs.frozen(kw_only=True)
class Mutant:
    """One mutant, with the checks that must see it; it is not caught by any other.

    These are the rules ``notices``, of which one is enough. With ``tests`` (files of tests, from
    the root) these judge it instead of simulations, and one of the tests ``fails`` must see it.
    """

    name: str
    file: str
    old: str
    new: str
    notices: tuple[HardRule | TrialRule, ...] = ()
    faults: str = ALL
    seeds: int = 10  # from 1 on; it must be caught within them
    hours: float = 1.0
    author: str = "design"
    also: tuple[tuple[str, str, str], ...] = ()  # file, old, new: where a guard stands twice
    tests: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()  # names of tests, without parameters

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the checks of which one must see it."""
        return self.fails or tuple(rule.value for rule in self.notices)


RECONCILIATION = "kamou/core/reconciliation/reconciliation.py"
BELIEVED_AT_ONCE = (RECONCILIATION, "if self._is_pending(symbol, held):", "if False:")
"""The change after which a pending mismatch has no waiting time."""


def table() -> tuple[Mutant, ...]:
    """Return all mutants; those whose author is the design come first."""
    from tests.simulation.mutants_for_tests import FOR_TESTS
    from tests.simulation.mutants_of_decisions import DECISIONS
    from tests.simulation.mutants_of_limits import LIMITS
    from tests.simulation.mutants_of_money import MONEY
    from tests.simulation.mutants_of_order_flow import ORDER_FLOW
    from tests.simulation.mutants_of_orders import ORDERS
    from tests.simulation.mutants_of_resting_entries import RESTING_ENTRIES
    from tests.simulation.mutants_of_shadows import SHADOWS
    from tests.simulation.mutants_of_the_gate import GATE
    from tests.simulation.mutants_of_the_refiner import REFINER
    from tests.simulation.mutants_of_the_reviewer import REVIEWER
    from tests.simulation.mutants_of_the_site import SITE
    from tests.simulation.mutants_of_the_vetoes import VETOES

    parts = (ORDERS, MONEY, REVIEWER, LIMITS, SITE, REFINER, VETOES, DECISIONS, SHADOWS, GATE)
    return tuple(
        mutant for part in (*parts, ORDER_FLOW, RESTING_ENTRIES, FOR_TESTS) for mutant in part
    )
