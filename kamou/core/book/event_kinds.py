"""List of all kinds of events that the journal can hold."""

from __future__ import annotations

from kamou.core.book import candidate_events as candidates
from kamou.core.book import decision_events as decisions
from kamou.core.book import events as e
from kamou.core.book import gate_events as gate
from kamou.core.book import instrument_events as instruments
from kamou.core.book import late_events as late
from kamou.core.book import operator_events as operator
from kamou.core.book import refiner_events as refiner
from kamou.core.book import run_events as runs
from kamou.core.book import shadow_events as shadows
from kamou.core.book import site_events as site
from kamou.core.book import strategy_events as strategies

EVENTS: tuple[type[e.Event], ...] = (
    e.RunStarted,
    e.RunStopped,
    runs.HistoryCaughtUp,
    runs.HistoryCutShort,
    runs.HistoryStopped,
    runs.ReplayStarted,
    runs.ReplayEnded,
    site.SiteFailed,
    site.SiteRecovered,
    e.CycleRanked,
    candidates.CandidatesVetoed,
    candidates.CandidatesRefined,
    refiner.RefinerCallsReserved,
    refiner.RefinerCallsEnded,
    shadows.ShadowTradesOpened,
    shadows.ShadowTradesClosed,
    e.CycleClosed,
    decisions.EntriesDecided,
    candidates.EntriesDenied,
    e.PermitGranted,
    e.PermitDenied,
    e.PermitConsumed,
    e.PermitReleased,
    e.IntentRecorded,
    e.OrderAccepted,
    e.OrderUnknown,
    e.OrderRejected,
    e.CancelRequested,
    e.OrderClosed,
    e.FillRecorded,
    e.StopConfirmed,
    e.ProtectionLost,
    e.ReductionProved,
    e.IncomeRecorded,
    e.TradeClosed,
    late.ResultCorrected,
    e.EquityRecorded,
    e.DayOpened,
    late.DayCorrected,
    late.TransferValued,
    e.PositionAdopted,
    e.PositionCorrected,
    e.DriftFound,
    e.DriftExplained,
    instruments.InstrumentChanged,
    e.TradeRestated,
    e.StateChanged,
    operator.CommandRecorded,
    strategies.StrategyDisabled,
    strategies.StrategyResumed,
    gate.GateChanged,
)
