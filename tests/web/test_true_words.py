"""Words on pages: net deposits, singular and plural, parts of months, flattening."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal as D
from html import unescape
from pathlib import Path

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.codes import StateReason
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import ExitReason, IncomeKind, RunMode
from kamou.core.model import Income, OrderRole, TradingState
from kamou.store.database import open_reader, open_writer
from kamou.store.journal import JournalWriter, read_events
from kamou.web import format as fmt
from kamou.web.app import PublicSite
from kamou.web.site import Site
from tests.site_client import Client, inline
from tests.web.published_record import START_MS, write_record

DAYS = 3
NOW_MS = START_MS + (DAYS + 1) * DAY_MS
FLATTEN = TradingState.FLATTENING


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "kamou.sqlite3"
    write_record(path, days=DAYS, trades_per_day=1, halt_day=None, outage_day=None)
    return path


def events_of(path: Path) -> list[e.Event]:
    with closing(open_reader(path)) as reader:
        return [committed.event for committed in read_events(reader, 0)]


def add(path: Path, events: Iterable[e.Event]) -> None:
    with closing(open_writer(path, durable=False)) as connection:
        JournalWriter(connection, run_number=1).append(list(events))


def mark(at_ms: int, *, margin: int = 0) -> e.EquityRecorded:
    return e.EquityRecorded(
        at_ms=at_ms,
        equity=D(10_000),
        wallet_balance=D(10_000),
        unrealized_pnl=D(0),
        margin_used=D(margin),
        open_risk=D(0),
        net_deposits=D(0),
    )


def moved(at_ms: int, amount: str) -> e.IncomeRecorded:
    income = Income(
        income_id=f"{at_ms}", kind=IncomeKind.TRANSFER, symbol="", amount=D(amount), at_ms=at_ms
    )
    return e.IncomeRecorded(at_ms=at_ms, income=income)


def changed(at_ms: int, before: TradingState, after: TradingState, reason: str) -> e.StateChanged:
    cause = StateReason(reason)
    return e.StateChanged(at_ms=at_ms, before=before, after=after, reason=cause)


async def page(path: Path, client: Client, address: str = "/results") -> str:
    site = PublicSite(path, Site(mode=RunMode.DEMO), runner=inline)
    async with client(site) as http:
        found = re.sub(r"\s+", " ", unescape((await http.get(address)).text))
    site.close()
    return found


async def test_the_sentence_about_net_deposits_says_if_withdrawals_were_netted(
    record: Path, client: Client
) -> None:
    assert "Since then" not in await page(record, client)
    add(record, [moved(NOW_MS - 2, "2000"), moved(NOW_MS - 1, "693.5"), mark(NOW_MS)])
    both = 'Since then <span class="num">2,693.50</span> was deposited. It'
    assert both in await page(record, client)
    add(record, [moved(NOW_MS + 1, "-1233.88"), mark(NOW_MS + 2)])
    assert (
        'Since then <span class="num">1,459.62</span> was deposited, deposits and withdrawals'
        " netted." in await page(record, client)
    )
    add(record, [moved(NOW_MS + 3, "-1459.62"), mark(NOW_MS + 4)])
    assert "Since then as much was withdrawn as deposited." in await page(record, client)


async def test_the_state_after_a_flatten_closed_all_positions_is_shown_as_flattened(
    record: Path, client: Client
) -> None:
    flatten = changed(NOW_MS, TradingState.ACTIVE, FLATTEN, "OPERATOR_FLATTEN")
    add(record, [flatten, mark(NOW_MS + 1, margin=200)])
    held = await page(record, client)
    assert "<dt>State</dt><dd>closing everything</dd>" in held
    assert '<td class="text" data-label="What">closing everything</td>' in held
    add(record, [mark(NOW_MS + 2)])
    after = await page(record, client)
    assert "<dt>State</dt><dd>flattened: no new trades</dd>" in after
    assert '<td class="text" data-label="What">flattened: no new trades</td>' in after
    assert "closing everything" not in after


async def test_the_text_of_day_loss_half_names_the_limit_for_half_size() -> None:
    assert fmt.cause(StateReason.DAY_LOSS_HALF) == "the day's loss reached the limit for half size"


@pytest.mark.parametrize(
    ("state", "reason", "own", "said"),
    [
        (FLATTEN, "OPERATOR_FLATTEN", True, "flattened by the operator"),
        (
            FLATTEN,
            "DAY_LOSS_SEVERE",
            True,
            "flattened: the day's loss reached the flatten limit",
        ),
        (TradingState.REDUCE_ONLY, "OPERATOR_HALT", True, "ended by an exit order"),
        (TradingState.REDUCE_ONLY, "OPERATOR_HALT", False, "flattened by the operator"),
    ],
    ids=["the operator's", "the governor's", "none", "the kill switch's, without a run"],
)
async def test_only_a_trade_that_a_flatten_closed_has_the_cause_of_the_flatten(
    record: Path, client: Client, state: TradingState, reason: str, own: bool, said: str
) -> None:
    known = events_of(record)
    trade = next(each for each in reversed(known) if isinstance(each, e.TradeClosed))
    fill = next(each for each in reversed(known) if isinstance(each, e.FillRecorded))
    intent = next(
        each
        for each in reversed(known)
        if isinstance(each, e.IntentRecorded) and each.intent.role is OrderRole.STOP_LOSS
    )
    trade_id = "later"
    closing_intent = attrs.evolve(
        intent.intent,
        client_order_id="kmclose",
        trade_id=trade_id if own else f"flatten.{NOW_MS}.{trade.symbol}",
        role=OrderRole.EXIT,
    )
    result = attrs.evolve(
        trade,
        cause_id=trade_id,
        trade_id=trade_id,
        opened_at_ms=NOW_MS,
        closed_at_ms=NOW_MS + 5,
        exit_reason=ExitReason.EXIT,
    )
    last = attrs.evolve(fill.fill, client_order_id="kmclose", execution_id="x", at_ms=NOW_MS + 5)
    made = [
        changed(NOW_MS + 3, TradingState.ACTIVE, state, reason),
        attrs.evolve(intent, intent=closing_intent),
        attrs.evolve(fill, fill=last),
        result,
        mark(NOW_MS + HOUR_MS),
    ]
    add(record, made)
    if not own:  # the order and its fill go to the trade that the kill switch closed
        with closing(open_writer(record, durable=False)) as connection:
            connection.execute(
                "UPDATE fill SET trade_id = 'later' WHERE client_order_id = 'kmclose'"
            )
            connection.commit()
    alone = await page(record, client, "/trades/later")
    assert f", {said}: <strong" in alone
    assert f"Trade closed<small>{said}</small>" in alone
    assert f'<td class="text more">{said.removeprefix("ended by ")}</td>' in await page(
        record, client, "/trades"
    )
    site = PublicSite(record, Site(mode=RunMode.DEMO), runner=inline)
    async with client(site) as http:
        document = (await http.get("/trades/later", headers={"accept": "application/json"})).json()
    site.close()
    wanted = None if said == "ended by an exit order" else "OPERATOR_FLATTEN" if not own else reason
    assert document["trade"]["flattened_for"] == wanted
    assert document["trade"]["exit_reason"] == "exit"


async def test_the_month_in_which_a_record_begins_has_the_tag_part_and_the_newest_the_tag_so_far(
    tmp_path: Path, client: Client
) -> None:
    path = tmp_path / "months.sqlite3"
    write_record(path, trades_per_day=1, outage_day=None)  # from 26 July to 4 September
    found = await page(path, client)
    assert 'Jul 2025 <span class="tag">part</span>' in found
    assert re.search(r"Aug 2025\s*</th>", found)
    assert 'Sep 2025 <span class="tag">so far</span>' in found


async def test_a_month_whose_last_midnight_is_not_known_is_a_part(
    tmp_path: Path, client: Client
) -> None:
    path = tmp_path / "missed.sqlite3"
    write_record(path, trades_per_day=1, outage_day=36, down_days=2)  # 31 August to 2 September
    assert 'Aug 2025 <span class="tag">part</span>' in await page(path, client)


async def test_pages_of_a_demo_ask_for_no_keys_and_its_pricing_says_that_none_are_needed(
    record: Path, client: Client
) -> None:
    assert "Your keys" not in await page(record, client, "/how-it-works")
    assert "your own keys" not in await page(record, client, "/pricing")
    assert "no exchange account and no keys" in await page(record, client, "/pricing")


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 complete days"), (1, "1 complete day"), (2, "2 complete days")]
)
def test_only_a_count_of_one_has_a_noun_in_the_singular(n: int, said: str) -> None:
    assert fmt.counted(n, "complete day") == said


async def test_no_page_of_a_record_of_one_trade_has_a_plural_after_the_number_1(
    tmp_path: Path, client: Client
) -> None:
    path = tmp_path / "one.sqlite3"
    write_record(path, days=1, trades_per_day=1, outage_day=None, halt_day=None)
    (trade_id,) = [each.trade_id for each in events_of(path) if isinstance(each, e.TradeClosed)]
    plural = re.compile(
        r"(?<![\d.,:])1 (?:<small>)?((?:closed|complete) )?"
        r"(days|trades|rows|contracts|fills|orders|halts|times|periods|strategies)\b"
    )
    for address in ("/", "/results", "/trades", f"/trades/{trade_id}", "/days"):
        shown = await page(path, client, address)
        assert plural.findall(shown) == [], address
    assert "1 <small>closed trade</small>" in await page(path, client)
    assert "1 closed trade, newest first" in await page(path, client, "/trades")
