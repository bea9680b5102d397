"""The veto actor (T2): ranks the candidates of all shards, checks the top ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kamou.actors.base import Actor
from kamou.actors.followers import BookFollower
from kamou.actors.journal import Journal
from kamou.actors.veto_inputs import VetoInputs, find_listed_bitcoin
from kamou.core.book.candidate_events import CandidatesVetoed, VetoedCandidate
from kamou.core.book.events import CycleRanked, Event
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import SHADOW_ONLY
from kamou.core.model import Candidate, OrderRole
from kamou.core.ranking.ranking import RankedCycle, Ranking, merge_shards, to_ranked
from kamou.core.ranking.scan_detail import make_details, pack_details
from kamou.core.risk.limits import TradingParameters, VetoLimits
from kamou.core.strategies.base import Strategy
from kamou.core.vetoes import apply_vetoes, find_conflicting_symbols
from kamou.core.vetoes.base import VetoContext, VetoRule
from kamou.exchange.base import ExchangePort
from kamou.messages.signals import CandidatesCleared, ShardRanked
from kamou.runtime.mailbox_sides import Outbox
from kamou.settings.config import CycleSettings


@attrs.define(kw_only=True, eq=False, slots=False)
class VetoActor(Actor[ShardRanked]):
    """The actor that ranks each cycle's candidates and sends on those without a veto.

    It ranks once it has all shards of the cycle, at the deadline, or when a shard of another cycle
    comes. Its state is the shards of the current cycle. A crash loses the ranking of that cycle.
    """

    name: str = attrs.field(init=False, default="veto")
    _port: ExchangePort
    _journal: Journal
    _refiner: Outbox[CandidatesCleared]
    _universe: Sequence[Sequence[str]]
    _strategies: Mapping[str, Strategy]
    _vetoes: Mapping[str, VetoRule]
    _cycle: CycleSettings
    _period_ms: int
    _step_ms: int
    _limits: VetoLimits
    _parameters: TradingParameters
    _keep_detail: bool = True  # False in a fast-forward: `kamou why` has no use for it
    _follower: BookFollower = attrs.field(init=False)
    _inputs: VetoInputs = attrs.field(init=False)
    _collecting: int = attrs.field(init=False, default=0)  # the cycle, or 0 while none is open
    _deadline_ms: int = attrs.field(init=False, default=0)
    _ranked_ms: int = attrs.field(init=False, default=0)  # the newest cycle that was ranked
    _shards: dict[int, ShardRanked] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._follower = BookFollower(self._journal)
        self._inputs = VetoInputs(
            port=self._port,
            clock=self.clock,
            enabled=self._vetoes,
            pause_ms=self._limits.velocity_pause_s * 1000,
            step_ms=self._step_ms,
        )

    async def recover(self) -> None:
        await self._follower.recover()
        self._ranked_ms = self._follower.book.reconciliation.cycle_at_ms

    def next_due_ms(self) -> int | None:
        return self._deadline_ms if self._collecting else None

    async def tick(self) -> None:
        await self._finish()

    async def handle(self, message: ShardRanked) -> None:
        assert isinstance(message, ShardRanked), message
        if message.cycle_at_ms <= self._ranked_ms:
            return  # too late: its cycle was ranked without this shard, and counted it as late
        if message.cycle_at_ms != self._collecting:
            if self._collecting:
                await self._finish()
            self._collecting = message.cycle_at_ms
            self._deadline_ms = self.clock.now_ms() + self._cycle.shard_deadline_ms
        self._shards[message.shard] = message
        if len(self._shards) == len(self._universe):
            await self._finish()

    async def _finish(self) -> None:
        cycle_at_ms, shards = self._collecting, list(self._shards.values())
        self._collecting, self._shards = 0, {}
        self._ranked_ms = cycle_at_ms
        recorded = next((s.ranking for s in shards if s.ranking is not None), None)
        ranking = recorded or self._merge(shards)
        fed = ranking.bar_closed_at_ms or ranking.late_shards
        if not fed and cycle_at_ms % self._period_ms:
            return  # no bar was due, so there is nothing to rank or journal
        events: list[Event] = [
            CycleRanked(
                at_ms=self.clock.now_ms(),
                cause_id=f"cycle:{cycle_at_ms}",
                cycle_at_ms=cycle_at_ms,
                bar_closed_at_ms=ranking.bar_closed_at_ms,
                symbols=ranking.symbols,
                candidates=ranking.candidates,
                by_strategy=ranking.by_strategy,
                abstained=ranking.abstained,
                late_shards=ranking.late_shards,
                top=tuple(to_ranked(candidate) for candidate in ranking.top),
            )
        ]
        if self._keep_detail and isinstance(ranking, Ranking) and ranking.bar_closed_at_ms:
            self._journal.cast_detail(cycle_at_ms, self._detail(ranking, shards))
        cleared = await self._clear(cycle_at_ms, ranking, events) if ranking.top else None
        self._journal.cast(*events)
        if cleared is not None:
            self._refiner.put_nowait(cleared)

    def _merge(self, shards: Sequence[ShardRanked]) -> Ranking:
        return merge_shards(
            shards,
            universe=self._universe,
            strategies=self._strategies,
            period_ms=self._period_ms,
            top=self._cycle.candidates_max,
        )

    def _detail(self, ranking: Ranking, shards: Sequence[ShardRanked]) -> bytes:
        """Pack every symbol's scores, abstentions and their figures for ``kamou why``."""
        bars: dict[str, float] = {}
        last_close_ms: dict[str, float] = {}
        errors: dict[str, str] = {}
        for shard in shards:
            names = self._universe[shard.shard]
            bars.update(zip(names, shard.bars.tolist(), strict=False))
            last_close_ms.update(zip(names, shard.last_close_ms.tolist(), strict=False))
            errors.update({c.strategy: c.error for c in shard.columns if c.error})
        details = make_details(
            ranking,
            bars=bars,
            last_close_ms=last_close_ms,
            errors=errors,
            period_ms=self._period_ms,
            now_ms=self.clock.now_ms(),
        )
        return pack_details(ranking.names, details)

    async def _clear(
        self, cycle_at_ms: int, ranking: RankedCycle, events: list[Event]
    ) -> CandidatesCleared | None:
        """Return the candidates without a veto, or None; append the vetoes to ``events``.

        A candidate whose vetoes are all of ``SHADOW_ONLY`` is among the vetoed ones, and is passed
        on for the shadow record alone.
        """
        context = await self._context(ranking)
        cleared: list[Candidate] = []
        shadow_only: list[Candidate] = []
        vetoed: list[VetoedCandidate] = []
        for candidate in ranking.top:
            denials = apply_vetoes(candidate, context, self._vetoes)
            if not denials:
                cleared.append(candidate)
                continue
            if SHADOW_ONLY.issuperset(each.code for each in denials):
                shadow_only.append(candidate)
            vetoed.append(
                VetoedCandidate(
                    signal_id=candidate.signal_id,
                    strategy=candidate.strategy,
                    symbol=candidate.symbol,
                    denials=denials,
                )
            )
        if vetoed:
            events.append(
                CandidatesVetoed(
                    at_ms=context.now_ms,
                    cause_id=f"cycle:{cycle_at_ms}",
                    candidates=tuple(vetoed),
                )
            )
        if not cleared and not shadow_only:
            return None
        return CandidatesCleared(
            cause_id=f"cycle:{cycle_at_ms}",
            expires_at_ms=context.now_ms + self._cycle.candidate_ttl_s * 1000,
            cycle_at_ms=cycle_at_ms,
            candidates=tuple(cleared),
            shadow_only=tuple(shadow_only),
        )

    async def _context(self, ranking: RankedCycle) -> VetoContext:
        candidates, inputs = ranking.top, self._inputs
        quotes = await inputs.read_quotes(candidates)
        await inputs.funding.refresh()
        moves = await inputs.read_moves(candidates, quotes)
        book = self._follower.catch_up()
        now_ms = self.clock.now_ms()
        return VetoContext(
            now_ms=now_ms,
            period_ms=self._period_ms,
            limits=self._limits,
            parameters=self._parameters,
            quotes=quotes,
            instruments=book.instruments,
            funding_rates=inputs.funding.rates,
            settled_ms=inputs.funding.settled_ms,
            held=_describe_exposure(book),
            last_stop_ms=book.recent_activity.stop_outs_ms,
            conflicting=find_conflicting_symbols(candidates),
            regimes=ranking.regimes,
            bitcoin=find_listed_bitcoin(self._universe, book.instruments),
            moves=moves,
            findings=inputs.judge_records(book.shadows, candidates, now_ms),
            shadows=book.shadows.held,
        )


def _describe_exposure(book: PositionBook) -> dict[str, str]:
    """Return by symbol a text about its working entry or its position."""
    working = {
        o.intent.symbol: f"a working entry, {o.intent.side} {o.remaining} contracts"
        for o in book.orders.unsettled.values()
        if o.role is OrderRole.ENTRY
    }
    positions = {
        symbol: f"a {trade.side} position of {trade.quantity} contracts, {trade.strategy}"
        for symbol, trade in book.trades.open.items()
    }
    return working | positions
