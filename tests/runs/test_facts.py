"""Tests of the facts digest: names and ids do not change it, and figures do."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.candidate_events import (
    CandidatesVetoed,
    DeniedEntry,
    EntriesDenied,
    VetoedCandidate,
)
from kamou.core.kinds import FillReason
from kamou.core.model import Denial, OrderRole, OrderSide, OrderType
from kamou.runs.facts import facts_digest
from kamou.store import database
from kamou.store.journal import JournalWriter
from kamou.venue.state import AuditRecord, ContractAudit, FillAudit, MoneyAudit, MoneyKind
from kamou.venue.violations import HardRule, Violation
from tests.store import story

FILL = FillAudit(
    at_ms=story.CYCLE_MS,
    client_order_id="km1",
    symbol="ETHUSDT",
    side=OrderSide.BUY,
    type=OrderType.MARKET,
    reduce_only=False,
    quantity=D("0.50"),
    price=D("2000"),
    fee=D("0.3"),
    realized=D(0),
    position_before=D(0),
    position_after=D("0.50"),
    entry_before=D(0),
    entry_after=D(2000),
    trigger_price=None,
    contract_size=D(1),
    taker_fee=D("0.0006"),
    equity_before=D(10_000),
    balance_before=D(10_000),
    reason=FillReason.ORDER,
)
FUNDING = MoneyAudit(
    at_ms=story.CYCLE_MS + 1, kind=MoneyKind.FUNDING, symbol="ETHUSDT", amount=D("-0.01")
)
AUDIT_LOG = (FILL, FUNDING)
VIOLATION = Violation(rule=HardRule.RISK, at_ms=story.CYCLE_MS, symbol="ETHUSDT", detail="")


def digest(
    *events: e.Event,
    audit_log: Sequence[AuditRecord] = AUDIT_LOG,
    violations: Sequence[Violation] = (),
) -> str:
    connection = database.open_writer(Path(":memory:"), durable=False)
    JournalWriter(connection, run_number=1).append(list(events))
    try:
        return facts_digest(audit_log, connection, violations)
    finally:
        connection.close()


def trade_closed(**changed: Any) -> e.Event:
    return attrs.evolve(story.make_trade_close(), **changed)


def permit_denied(at_ms: int, code: str = "RISK_OPEN_EXCEEDED") -> e.Event:
    return e.PermitDenied(
        at_ms=at_ms,
        permit_id=f"p{at_ms}",
        signal_id=story.SIGNAL,
        strategy="mean_reversion",
        symbol="ETHUSDT",
        role=OrderRole.ENTRY,
        denials=(Denial(code=code),),
    )


def entries_denied(*at_ms: int) -> e.Event:
    return EntriesDenied(
        at_ms=max(at_ms),
        entries=tuple(
            DeniedEntry(
                at_ms=each,
                permit_id=f"p{each}",
                signal_id=story.SIGNAL,
                strategy="mean_reversion",
                symbol="ETHUSDT",
                denials=(Denial(code="RISK_OPEN_EXCEEDED"),),
            )
            for each in at_ms
        ),
    )


def candidates_vetoed(*symbols: str) -> e.Event:
    return CandidatesVetoed(
        at_ms=1,
        candidates=tuple(
            VetoedCandidate(
                signal_id=story.SIGNAL,
                strategy="mean_reversion",
                symbol=symbol,
                denials=(Denial(code="REGIME_WRONG"),),
            )
            for symbol in symbols
        ),
    )


@pytest.mark.parametrize(
    "other",
    [
        {"client_order_id": "another"},
        {"symbol": "XBTUSDTM"},
        {"type": OrderType.LIMIT},
        {"reason": "a reason"},
        {"quantity": D("0.5")},
        {"price": D("2000.000")},
    ],
)
def test_ids_symbol_type_reason_and_decimal_places_of_a_fill_do_not_change_the_digest(
    other: dict[str, Any],
) -> None:
    assert digest(audit_log=[attrs.evolve(FILL, **other), FUNDING]) == digest()


@pytest.mark.parametrize(
    "other",
    [
        {"at_ms": FILL.at_ms + 1},
        {"side": OrderSide.SELL},
        {"quantity": D("0.51")},
        {"price": D("2000.1")},
        {"fee": D("0.30000000000000000000000000001")},
    ],
)
def test_time_side_quantity_price_and_fee_of_a_fill_change_the_digest(
    other: dict[str, Any],
) -> None:
    assert digest(audit_log=[attrs.evolve(FILL, **other), FUNDING]) != digest()


def test_time_and_amount_of_a_payment_change_the_digest_and_its_kind_does_not() -> None:
    assert digest(audit_log=[FILL, attrs.evolve(FUNDING, kind=MoneyKind.OPENING)]) == digest()
    assert digest(audit_log=[FILL, attrs.evolve(FUNDING, amount=D("0.01"))]) != digest()
    assert digest(audit_log=[FILL, attrs.evolve(FUNDING, at_ms=0)]) != digest()
    assert digest(audit_log=[FILL]) != digest()


def test_the_order_of_fills_and_payments_changes_the_digest() -> None:
    assert digest(audit_log=[FUNDING, FILL]) != digest()


def test_a_contract_specification_in_the_audit_log_does_not_change_the_digest() -> None:
    noted = ContractAudit(at_ms=0, symbol="ETHUSDT", contract_size=D(1))
    assert digest(audit_log=[noted, *AUDIT_LOG]) == digest()


@pytest.mark.parametrize(
    "other",
    [
        {"entry_price": D(2001)},
        {"exit_price": D(2046)},
        {"stop_price": D(1971)},
        {"quantity": D("0.6")},
        {"fees": D("0.7")},
        {"funding": D("0.1")},
        {"pnl_net": D(1)},
        {"r_multiple": D(2)},
        {"r_multiple": None},
    ],
)
def test_prices_quantity_costs_and_results_of_a_trade_change_the_digest(
    other: dict[str, Any],
) -> None:
    assert digest(trade_closed(**other)) != digest(trade_closed())


def test_names_and_ids_of_a_trade_do_not_change_the_digest() -> None:
    other = trade_closed(trade_id="another", symbol="XBTUSDTM", strategy="a_name")
    assert digest(other) == digest(trade_closed())


def test_trades_that_close_together_are_sorted_by_values_and_not_by_ids() -> None:
    cheap, dear = {"entry_price": D(9)}, {"entry_price": D(11)}
    one = digest(trade_closed(trade_id="a", **cheap), trade_closed(trade_id="b", **dear))
    other = digest(trade_closed(trade_id="a", **dear), trade_closed(trade_id="b", **cheap))
    assert one == other


def test_the_number_of_denials_changes_the_digest_and_their_codes_do_not() -> None:
    assert digest(permit_denied(1)) != digest()
    assert digest(permit_denied(1), permit_denied(2)) != digest(permit_denied(1))
    assert digest(permit_denied(1, "ANOTHER")) == digest(permit_denied(1))


def test_vetoes_and_denials_are_counted_separately() -> None:
    assert len({digest(), digest(candidates_vetoed("ETH")), digest(permit_denied(1))}) == 3


def test_refusals_are_counted_one_by_one_however_many_of_them_an_event_has() -> None:
    single = digest(*map(permit_denied, (1, 2, 3)))
    assert digest(entries_denied(1, 2, 3)) == single
    assert digest(entries_denied(1), permit_denied(2), entries_denied(3)) == single
    assert digest(entries_denied(1, 2)) != single
    apart = digest(candidates_vetoed("BTC"), candidates_vetoed("ETH"))
    assert digest(candidates_vetoed("BTC", "ETH")) == apart != digest(candidates_vetoed("BTC"))


def test_times_of_violations_change_the_digest_and_their_rules_do_not() -> None:
    found = digest(violations=[VIOLATION])
    assert found != digest()
    assert digest(violations=[attrs.evolve(VIOLATION, rule=HardRule.LOST, detail="d")]) == found
    assert digest(violations=[attrs.evolve(VIOLATION, at_ms=0)]) != found
