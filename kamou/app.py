"""The composition root: makes a run's tree of actors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from kamou.actors.children import make_child, supervise
from kamou.actors.exchange import ExchangeActor
from kamou.actors.feed import Feed, FeedShard
from kamou.actors.followers import StateFollower, fold_hash
from kamou.actors.gate import GateActor, make_gate_actor
from kamou.actors.gathered_flow import GatheredFlow, find_gathered_flow
from kamou.actors.journal import Journal, JournalActor
from kamou.actors.mailbox_set import Mailboxes, make_mailboxes
from kamou.actors.order_executor import OrderExecutor, OrderExecutorSettings
from kamou.actors.order_flow import make_gatherers
from kamou.actors.order_manager import OrderManager
from kamou.actors.panel_loader import HISTORY_TIMEOUT_S, PanelLoader, split_symbols
from kamou.actors.protection import Protector
from kamou.actors.reconciler import Reconciler
from kamou.actors.refiner import Refiner
from kamou.actors.risk_governor import KeptCommand, RiskGovernor
from kamou.actors.scanner import Scanner
from kamou.actors.shadow_book import ShadowBook
from kamou.actors.timed_port import TimedPort
from kamou.actors.venue_port import Listing, PortFactory, VenuePort
from kamou.actors.veto import VetoActor
from kamou.clock import Clock
from kamou.core import strategies as t1
from kamou.core import vetoes as t2
from kamou.core.book.events import ReductionProved
from kamou.core.book.intents import SaltOf
from kamou.core.indicators.regime import RegimeIndicator
from kamou.core.ranking import recorded_scores as scores
from kamou.core.record.gate import Gate
from kamou.core.record.gate_transitions import GateRules
from kamou.core.refining.calls import AskModel
from kamou.core.shadow.opening import ShadowTerms
from kamou.core.strategies.base import Strategy
from kamou.core.strategies.evaluation import StrategyFailure, check_strategies, raise_failure
from kamou.exchange.base import IsHalted, PortChecks
from kamou.messages.governor import DiskFull
from kamou.messages.orders import GovernorMessage
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.runners import Runner
from kamou.runtime.supervision import ChildSpec, RestartStrategy, SupervisorSpec
from kamou.settings.config import Settings
from kamou.settings.price_models import make_price_models
from kamou.store.journal import JournalWriter
from kamou.store.permits import JournalPermits


@attrs.frozen(kw_only=True, eq=False)
class SystemInputs:
    """Inputs of a tree. The caller opens writer and reader, and closes them later."""

    settings: Settings
    clock: Clock
    port: PortFactory
    market: Listing
    writer: JournalWriter
    reader: sqlite3.Connection
    runner: Runner
    gate: Gate
    salt_of: SaltOf
    halted: IsHalted
    step_ms: int  # time between two steps of the venue's market
    shadow_book: bool = False  # False: no shadow trades
    gather_flow: bool = False  # gather order flow from the venue's stream, if it has one
    keep_detail: bool = False  # keep every symbol's reasons per cycle, for `kamou why`
    recorded: scores.RecordedBars | None = None  # the port's bars, if all are known
    ask_model: AskModel | None = None  # None: the refiner is off
    gate_rules: GateRules | None = None  # None: no gate's actor, because ``gate`` is assumed
    on_disk_full: Callable[[DiskFull], None] = lambda _report: None
    on_reconciled: Callable[[bool], None] = lambda _agreed: None  # after each complete pass
    on_strategy_failed: Callable[[StrategyFailure], None] = raise_failure


@attrs.frozen(kw_only=True, eq=False)
class Tree:
    """A composed system that is not running yet."""

    inputs: SystemInputs
    spec: SupervisorSpec
    journal: Journal
    port: VenuePort
    strategies: dict[str, Strategy]
    mailboxes: Mailboxes
    period_ms: int  # of the trade timeframe
    gathered: GatheredFlow | None  # None: no order flow is gathered

    @property
    def governor(self) -> Mailbox[GovernorMessage]:
        return self.mailboxes.risk_governor


def compose(
    inputs: SystemInputs,
    *,
    spawn: Sequence[ChildSpec] = (),
    on_cycle: Callable[[int], None] = lambda _cycle_at_ms: None,
) -> Tree:
    """Make the tree: the core, further children (``spawn``) and the scanner shards.

    ``on_cycle`` takes each cycle's time. Raises ``ConfigurationError`` if a strategy is not usable.
    """
    composer = _Composer(inputs, on_cycle)
    supervision = inputs.settings.supervision
    root = SupervisorSpec(
        id="kamou",
        children=(composer.core(), *spawn, composer.shards()),
        strategy=RestartStrategy.ONE_FOR_ONE,
        intensity=supervision.intensity,
        period_s=supervision.period_s,
    )
    return Tree(
        inputs=inputs,
        spec=root,
        journal=composer.journal,
        port=composer.port,
        strategies=composer.strategies,
        mailboxes=composer.mailboxes,
        period_ms=composer.period_ms,
        gathered=composer.gathered,
    )


class _Composer:
    """The objects that the children share, and the specifications of the children."""

    def __init__(self, inputs: SystemInputs, on_cycle: Callable[[int], None]) -> None:
        self.inputs, self.settings, self.on_cycle = inputs, inputs.settings, on_cycle
        settings, source = inputs.settings, inputs.market
        self.period_ms = settings.cycle.trade_period_ms(source.step_ms)
        self.deadline_s = float(settings.supervision.handler_deadline_s)
        chosen = settings.strategies
        others = {name: file.factory for name, file in chosen.files.items()}
        self.strategies = t1.make_strategies(chosen.enabled, chosen.parameters, others)
        self.checked = check_strategies(self.strategies, self.period_ms)
        regime = RegimeIndicator(terms=settings.regime, period_ms=self.period_ms)
        self.regime = None if t2.READ_REGIMES.isdisjoint(settings.veto.enabled) else regime
        self.parts = split_symbols(source.symbols, settings.cycle.shards)
        self.recorded = self._recorded_scores()
        if self.recorded is not None:  # one scanner passes the ready rankings on
            self.parts = split_symbols(source.symbols, 1)
        self.universe = tuple(part.symbols for part in self.parts)
        self.mailboxes = make_mailboxes(len(self.universe), inputs.clock.now_ms)
        self.kept_command = KeptCommand()
        self.journal = Journal(
            inbox=self.mailboxes.journal,
            reader=inputs.reader,
            settings=settings.store,
            code_hash=fold_hash(),
            runner=inputs.runner,
        )
        permits = JournalPermits(journal=self.journal, reader=inputs.reader, clock=inputs.clock)
        self.port = inputs.port(
            PortChecks(
                clock=inputs.clock,
                permits=permits,
                halted=StateFollower(self.journal, inputs.halted).halted,
                journal_proof=self._journal_proof,
            )
        )
        made = self.strategies.values()
        self.gathered = find_gathered_flow(self.port, self.parts, made, wanted=inputs.gather_flow)
        self.panels = PanelLoader(
            port=self.port,
            clock=inputs.clock,
            parts=self.parts,
            new_panel=lambda names: t1.make_panel(made, names, self.period_ms, self.regime),
            flow_source=self.gathered,
        )

    def _recorded_scores(self) -> scores.RecordedScores | None:
        """Return the scores of recorded data in blocks, or None for scores bar by bar."""
        inputs, cycle, period_ms = self.inputs, self.settings.cycle, self.period_ms
        strategies = scores.find_block_strategies(self.strategies)
        every_close = period_ms % (cycle.period_s * 1000) == 0  # each is the time of a cycle
        # Strategies of the operator's folder are checked at every bar.
        others = self.settings.strategies.enabled_hashes
        unfit = inputs.keep_detail or others or not every_close
        if inputs.recorded is None or strategies is None or unfit:
            return None
        now_ms, delay_ms, top = inputs.clock.now_ms(), cycle.bar_delay_ms, cycle.candidates_max
        times = scores.ScoringTimes(start_ms=now_ms, period_ms=period_ms, delay_ms=delay_ms)
        shards = [part.columns for part in self.parts]
        return scores.RecordedScores(
            inputs.recorded, strategies, times, shards=shards, top=top, regime=self.regime
        )

    def _on_disk_full(self, report: DiskFull) -> None:
        self.mailboxes.risk_governor.put_priority(report)
        self.inputs.on_disk_full(report)

    async def _journal_proof(self, event: ReductionProved) -> None:
        await self.journal.commit(event)

    # --- the core ----------------------------------------------------------------

    def core(self) -> SupervisorSpec:
        boxes = self.mailboxes
        shadows = self._child(boxes.shadow_book, self._shadow_book)
        children = (
            self._child(boxes.journal, self._journal_actor),
            self._child(boxes.risk_governor, self._governor),
            ChildSpec(id="exchange", start=self._exchange, start_timeout_s=HISTORY_TIMEOUT_S),
            self._child(boxes.order_manager, self._order_manager),
            self._child(boxes.reconciler, self._reconciler),
            *((shadows,) if self.inputs.shadow_book else ()),
            self._child(boxes.refiner, self._refiner),
            self._child(boxes.veto, self._veto),
            self._child(boxes.feed, self._feed),
            *((self._child(boxes.gate, self._gate),) if self.inputs.gate_rules else ()),
        )
        return supervise("core", RestartStrategy.REST_FOR_ONE, children, self.settings.supervision)

    def shards(self) -> SupervisorSpec:
        cycle, boxes, make = self.settings.cycle, self.mailboxes.scanners, self._scanner
        slow = partial(attrs.evolve, start_timeout_s=HISTORY_TIMEOUT_S)
        children = tuple(slow(self._child(b, partial(make, i))) for i, b in enumerate(boxes))
        late_ms = cycle.bar_delay_ms // 2  # before the feed reads, as shadow trades
        children += make_gatherers(self.gathered, self.port, self.inputs.clock, late_ms)
        return supervise("shards", RestartStrategy.ONE_FOR_ONE, children, self.settings.supervision)

    def _child(self, inbox: Mailbox[Any], make: Callable[[], Any]) -> ChildSpec:
        return make_child(inbox, make, self.settings.supervision)

    def _journal_actor(self) -> JournalActor:
        return JournalActor(
            inbox=self.mailboxes.journal,
            journal=self.journal,
            writer=self.inputs.writer,
            clock=self.inputs.clock,
            runner=self.inputs.runner,
            on_disk_full=self._on_disk_full,
            handler_deadline_s=self.deadline_s,
        )

    def _governor(self) -> RiskGovernor:
        settings = self.settings
        return RiskGovernor(
            inbox=self.mailboxes.risk_governor,
            clock=self.inputs.clock,
            journal=self.journal,
            orders=self.mailboxes.order_manager,
            reconciler=self.mailboxes.reconciler,
            gate=self.inputs.gate,
            parameters=settings.trading_parameters,
            excluded=frozenset(settings.veto.excluded),
            kept=self.kept_command,
            handler_deadline_s=self.deadline_s,
        )

    async def _exchange(self, task_status: trio.TaskStatus[None]) -> None:
        await ExchangeActor(
            port=self.port,
            clock=self.inputs.clock,
            step_ms=self.inputs.step_ms,
            orders=self.mailboxes.order_manager,
            reconciler=self.mailboxes.reconciler,
        ).run(task_status)

    def _order_manager(self) -> OrderManager:
        settings, inputs, order_settings = self.settings, self.inputs, OrderExecutorSettings()
        executor = OrderExecutor(
            journal=self.journal,
            port=TimedPort(self.port, order_settings.venue_timeout_s),
            governor=self.mailboxes.risk_governor,
            clock=inputs.clock,
            salt_of=inputs.salt_of,
            settings=order_settings,
        )
        protector = Protector(
            executor=executor, limits=settings.risk, on_failed=self.mailboxes.report_unprotected
        )
        return OrderManager(
            inbox=self.mailboxes.order_manager,
            clock=inputs.clock,
            executor=executor,
            protector=protector,
            reconciler=self.mailboxes.reconciler,
            gate=inputs.gate,
            parameters=settings.trading_parameters,
            cycle_period_ms=settings.cycle.period_s * 1000,
            handler_deadline_s=self.deadline_s,
        )

    def _reconciler(self) -> Reconciler:
        return Reconciler(
            inbox=self.mailboxes.reconciler,
            clock=self.inputs.clock,
            journal=self.journal,
            port=self.port,
            governor=self.mailboxes.risk_governor,
            orders=self.mailboxes.order_manager,
            parameters=self.settings.trading_parameters,
            cycle_period_ms=self.settings.cycle.period_s * 1000,
            period_ms=self.period_ms,
            handler_deadline_s=self.deadline_s,
            on_reconciled=self.inputs.on_reconciled,
        )

    def _shadow_book(self) -> ShadowBook:
        settings = self.settings
        return ShadowBook(
            inbox=self.mailboxes.shadow_book,
            clock=self.inputs.clock,
            journal=self.journal,
            port=self.port,
            terms=ShadowTerms(
                equity=settings.equity,
                parameters=settings.trading_parameters,
                models=make_price_models(settings.exchange, settings.costs),
            ),
            native_ms=self.inputs.market.step_ms,
            # Before the vetoes of the same bar, which read the open shadow trades.
            delay_ms=settings.cycle.bar_delay_ms // 2,
            on_closed=self.mailboxes.wake_gate,
            handler_deadline_s=self.deadline_s,
        )

    def _refiner(self) -> Refiner:
        return Refiner(
            inbox=self.mailboxes.refiner,
            clock=self.inputs.clock,
            journal=self.journal,
            orders=self.mailboxes.order_manager,
            shadows=self.mailboxes.shadow_book if self.inputs.shadow_book else None,
            settings=self.settings.refiner,
            ask=self.inputs.ask_model,
            handler_deadline_s=self.deadline_s,
        )

    def _veto(self) -> VetoActor:
        settings = self.settings
        return VetoActor(
            inbox=self.mailboxes.veto,
            clock=self.inputs.clock,
            port=self.port,
            journal=self.journal,
            refiner=self.mailboxes.refiner,
            universe=self.universe,
            strategies=self.strategies,
            vetoes=t2.discover_vetoes(settings.veto.enabled),
            cycle=settings.cycle,
            period_ms=self.period_ms,
            step_ms=self.inputs.step_ms,
            limits=settings.veto,
            parameters=settings.trading_parameters,
            handler_deadline_s=self.deadline_s,
            keep_detail=self.inputs.keep_detail,
        )

    def _gate(self) -> GateActor:
        inputs, rules = self.inputs, self.inputs.gate_rules or GateRules()
        return make_gate_actor(self.mailboxes, self.journal, inputs.clock, rules, self.deadline_s)

    def _feed(self) -> Feed:
        boxes, made = self.mailboxes, self.strategies.values()
        return Feed(
            inbox=boxes.feed,
            clock=self.inputs.clock,
            port=self.port,
            shards=tuple(
                FeedShard(index=at, symbols=part.symbols, columns=part.columns, inbox=box)
                for at, (part, box) in enumerate(zip(self.parts, boxes.scanners, strict=True))
            ),
            cycle=self.settings.cycle,
            period_ms=self.period_ms,
            handler_deadline_s=self.deadline_s,
            on_cycle=self.on_cycle,
            funding_wanted=t1.need_funding(made),
            flow_wanted=t1.need_flow(made),
            flow_source=self.gathered,
            ratios_wanted=t1.need_ratios(made),
            premium_wanted=t1.need_premium(made),
        )

    def _scanner(self, index: int) -> Scanner:
        return Scanner(
            index=index,
            inbox=self.mailboxes.scanners[index],
            clock=self.inputs.clock,
            panels=self.panels,
            symbols=self.universe[index],
            strategies=self.checked,
            veto=self.mailboxes.veto,
            on_strategy_failed=self.inputs.on_strategy_failed,
            recorded=self.recorded,
            regime=self.regime,
            handler_deadline_s=HISTORY_TIMEOUT_S,
        )
