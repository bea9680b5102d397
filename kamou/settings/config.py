"""``Settings`` and ``load_settings``: validated values, each with its origin.

Options override the environment (``KAMOU__GROUP__NAME``), and that overrides ``kamou.toml``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar, get_type_hints

import attrs

from kamou.core.indicators.regime_terms import RegimeTerms
from kamou.core.kinds import MarketEdges, RunMode
from kamou.core.plain import Form, fixed_text, to_plain
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters, VetoLimits
from kamou.errors import ConfigurationError
from kamou.settings import strategies
from kamou.settings.refiner import (
    RefinerSettings,
    find_refiner_contradictions,
    read_refiner_key,
)
from kamou.settings.sources import convert_values, read_sources
from kamou.settings.strategies import NOT_A_SETTING, ParameterTypes, StrategySettings
from kamou.settings.strategy_files import StrategyFile, load_folder
from kamou.settings.table import settings_table
from kamou.settings.values import (
    PUBLIC_URL,
    is_network,
    is_public_url,
)
from kamou.settings.vetoes import find_veto_contradictions

D = Decimal
DAY_S = 86_400
T = TypeVar("T")
Group = TypeVar("Group", bound=attrs.AttrsInstance)


@attrs.frozen(kw_only=True)
class CycleSettings:
    period_s: int = 300  # between two cycles: each reconciles, and scans if a bar has closed
    bar_delay_ms: int = 2_000  # venues publish a closed bar late
    timeframe_s: int = 900  # the bars on which strategies trade
    shards: int = 2  # scanners; each has the fixed cost of a bar again
    shard_deadline_ms: int = 2_000  # after the first shard; later ones are left out of the cycle
    candidate_ttl_s: int = 60  # an unused candidate expires
    candidates_max: int = 20  # of each strategy, that a cycle passes to the vetoes

    def trade_period_ms(self, native_ms: int) -> int:
        """Return the trade timeframe in ms: the setting, or the market's bars if longer."""
        return max(self.timeframe_s * 1000, native_ms)


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """Parameters of the embedded exchange's models (``kamou.venue.models``)."""

    latency_ms: int = 150
    attached_stop: bool = True
    volume_participation: Decimal = D("0.1")  # of a bar's volume, for one entry or limit order
    gap_range_atr: Decimal = D("5")  # in a bar wider than this, stops fill beyond the trigger
    gap_depth: Decimal = D("0.25")  # in such a bar; 0: at the trigger, 1: at the bar's extreme


@attrs.frozen(kw_only=True)
class DemoSettings:
    seed: int = 7
    symbols: int = 220
    days: int = 120  # of simulated trading before the start of a new demo
    warmup_days: int = 35  # of market history before the first trading day
    bar_s: int = 300
    edges: MarketEdges = MarketEdges.BY_SEED  # planted ones, see ``venue/market/edges.py``
    scripted_refiner: bool = True


@attrs.frozen(kw_only=True)
class WebSettings:
    host: str = "127.0.0.1"
    port: int = 8080
    operator_host: str = "127.0.0.1"
    operator_port: int = 8081
    operator_tcp: bool = True  # False: only the Unix socket in the data directory
    pricing_file: str = ""  # the operator's Markdown for /pricing
    connections_max: int = 2_000  # of the public listener, as are the limits up to keep_alive_s
    connections_per_address_max: int = 100
    trusted_proxies: tuple[str, ...] = ()  # reverse proxies, each with many clients
    header_bytes_max: int = 16_384
    headers_max: int = 100
    pipelined_max: int = 16
    request_s: int = 30
    stall_s: int = 15
    keep_alive_s: int = 15
    site_nice: int = 10  # so that the trading process gets the CPU first
    site_memory_max_mb: int = 512  # MiB resident; about 57 with 2,000 clients
    site_address_space_max_mb: int = 2_048  # MiB; see MALLOC_ARENA_MAX in site/process_start.py
    site_descriptors_max: int = 2_304  # 2,000 connections, and the process's own files
    site_render_max_s: int = 30  # an open snapshot keeps the WAL from being checkpointed
    site_silence_max_s: int = 10  # the time of twenty heartbeats
    site_start_max_s: int = 60  # a start takes 0.5 s on an idle machine


@attrs.frozen(kw_only=True)
class SiteSettings:
    public_url: str = ""  # address where visitors find the site


@attrs.frozen(kw_only=True)
class StoreSettings:
    group_commit_ms: int = 20
    snapshot_every: int = 20_000  # events; a start folds that many in 0.5 s
    batch_max: int = 1_000


@attrs.frozen(kw_only=True)
class DataSettings:
    """Limits of one dataset, because its files may come from any source."""

    rows_max: int = 10_000_000  # of all files; 160 bytes of memory each during the checks
    symbols_max: int = 5_000  # the largest venues list hundreds of perpetuals
    columns_max: int = 1_000  # of one file; a kline file has twelve
    files_max: int = 10_000  # one per symbol and month, for 400 symbols of two years
    cells_max: int = 20_000_000  # bars x symbols, with gaps; 36 bytes of memory each
    unpacked_mb_max: int = 2_000  # MB of 1,000,000 bytes, of all files: 200 bytes a row


@attrs.frozen(kw_only=True)
class SupervisionSettings:
    intensity: int = 5  # restarts in period_s; with one more the supervisor fails
    period_s: int = 60  # for which restarts are counted
    backoff_base_ms: int = 100
    backoff_cap_ms: int = 30_000
    backoff_reset_s: int = 300  # without a crash; then the wait is backoff_base_ms again
    handler_deadline_s: int = 30
    grace_s: int = 10  # of an orderly stop
    heartbeat_s: int = 30  # if the event loop is blocked for longer, the process ends


@attrs.frozen(kw_only=True)
class Settings:
    """All settings of one process."""

    mode: RunMode = RunMode.DEMO
    data_dir: Path = Path("kamou-data")
    equity: Decimal = D("10000")  # USDT; first wallet balance in demo, paper and backtests
    currency: str = "USDT"
    change_reason: str = ""  # why this configuration differs from the last
    cycle: CycleSettings = CycleSettings()
    risk: RiskLimits = RiskLimits()
    costs: CostModel = CostModel()
    veto: VetoLimits = VetoLimits()
    regime: RegimeTerms = RegimeTerms()
    refiner: RefinerSettings = RefinerSettings()
    strategies: StrategySettings = attrs.field(factory=StrategySettings)
    exchange: ExchangeSettings = ExchangeSettings()
    demo: DemoSettings = DemoSettings()
    web: WebSettings = WebSettings()
    site: SiteSettings = SiteSettings()
    store: StoreSettings = StoreSettings()
    data: DataSettings = DataSettings()
    supervision: SupervisionSettings = SupervisionSettings()

    @property
    def trading_parameters(self) -> TradingParameters:
        """Risk limits and cost model, as one value."""
        return TradingParameters(limits=self.risk, costs=self.costs)


@attrs.frozen(kw_only=True)
class Resolved:
    """Settings that passed the checks of ``load_settings``, with each value's origin."""

    settings: Settings
    origins: Mapping[str, str]  # dotted key -> default | kamou.toml:12 | KAMOU__... | --port
    digest: str


Overrides = Mapping[str, tuple[str, object]]  # dotted key -> (option as typed, value)


def load_settings(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Overrides | None = None,
    *,
    run_files: bool = False,
) -> Resolved:
    """Resolve the settings: options over environment over file over defaults.

    Args:
        path: the TOML file; None: no file.
        environ: the environment.
        overrides: values of options.
        run_files: run the files in the folder ``strategies.path``. If False and a folder is set,
            settings of strategies outside of the package are not checked and are left out.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML in UTF-8; settings are unknown,
            invalid or contradictory (one line for each problem, with key and origin); or the
            folder, or a file in it, cannot be used.
    """
    read = partial(read_sources, path, environ, dict(overrides or {}))
    raws = read(collect_leaf_types(Settings))
    _, folder = raws.get("strategies.path", ("", ""))
    files: dict[str, StrategyFile] = {}
    if folder and isinstance(folder, str) and run_files:
        files = load_folder(folder, strategies.list_builtin_strategies())
    types = strategies.strategy_parameter_classes(files)
    kinds, table = collect_leaf_types(Settings, types), settings_table(types)
    if files:
        raws = read(kinds)
    elif folder and not run_files:
        raws = {k: raw for k, raw in raws.items() if not _is_of_file(k, raw[1], types)}

    values = convert_values(raws, kinds, table)
    settings = _build_group(Settings, "", values, types)
    chosen = attrs.evolve(settings.strategies, files=files)
    settings = attrs.evolve(settings, strategies=chosen)
    origins = {key: raws[key][0] if key in raws else "default" for key in kinds}
    problems = [
        f"{' and '.join(f'{key} ({origins[key]})' for key in keys)}: {what}"
        for keys, what in find_settings_contradictions(settings)
    ]
    if problems:
        raise ConfigurationError(*problems)
    read_refiner_key(settings.refiner, environ)
    return Resolved(settings=settings, origins=origins, digest=digest(settings))


def _is_of_file(key: str, value: object, types: ParameterTypes) -> bool:
    """Return True for a setting of a strategy whose file was not run."""
    group, _, rest = key.partition(".")
    name, dot, _ = rest.partition(".")
    inner = bool(dot) or isinstance(value, dict)  # a table of TOML whose keys are not known
    return group == "strategies" and inner and name not in types


def digest(settings: Settings) -> str:
    """Return the SHA-256, in hex, of ``canonical_json``.

    Settings with ``decides=False`` in the table are left out, so that runs which differ only in
    them have equal digests.
    """
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def canonical_json(settings: Settings) -> str:
    """Return the settings that change trades as JSON, with sorted keys.

    If strategies outside of the package are enabled and were loaded, ``strategies.files`` has the
    SHA-256 of the file of each.
    """
    table = settings_table(settings.strategies.parameter_types)
    decisive = {
        key: to_json_value(value)
        for key, value in flatten_settings(settings).items()
        if table[key].decides
    }
    if hashes := settings.strategies.enabled_hashes:
        decisive["strategies.files"] = hashes
    return json.dumps(decisive, sort_keys=True, separators=(",", ":"), allow_nan=False)


_SETTING = Form(decimal=lambda value: fixed_text(value.normalize()))  # 0.010 and 0.01 are equal


def to_json_value(value: object) -> object:
    """Return a setting's value as a JSON type: a number, text, boolean or list."""
    return str(value) if isinstance(value, Path) else to_plain(value, _SETTING)


def flatten_settings(group: attrs.AttrsInstance) -> dict[str, object]:
    """Return the value of each setting by its dotted key, in the order of the fields."""
    flat: dict[str, object] = {}
    for field in _setting_fields(type(group)):
        value = getattr(group, field.name)
        if attrs.has(type(value)):
            flat.update(_prefix_keys(field.name, flatten_settings(value)))
        elif isinstance(value, Mapping):  # the strategies' parameters: groups by their names
            for name, inner in value.items():
                flat.update(_prefix_keys(name, flatten_settings(inner)))
        else:
            flat[field.name] = value
    return flat


def _prefix_keys(name: str, keys: Mapping[str, T]) -> dict[str, T]:
    return {f"{name}.{key}": item for key, item in keys.items()}


def collect_leaf_types(group: type, types: ParameterTypes | None = None) -> dict[str, object]:
    """Return the type of each setting by its dotted key, in the order of the fields.

    ``types`` are the classes of strategies' parameters; None: those of the package's strategies.
    """
    hints = get_type_hints(group)
    kinds: dict[str, object] = {}
    for field in _setting_fields(group):
        kind = hints[field.name]
        if _holds_parameters(group, field.name):
            found = strategies.strategy_parameter_classes() if types is None else types
            for name, inner in found.items():
                kinds.update(_prefix_keys(name, collect_leaf_types(inner)))
        elif attrs.has(kind):
            kinds.update(_prefix_keys(field.name, collect_leaf_types(kind, types)))
        else:
            kinds[field.name] = kind
    return kinds


def _setting_fields(group: type) -> list[attrs.Attribute[object]]:
    return [each for each in attrs.fields(group) if NOT_A_SETTING not in each.metadata]


def _holds_parameters(group: type, field: str) -> bool:
    return group is StrategySettings and field == "parameters"


def find_settings_contradictions(settings: Settings) -> list[tuple[tuple[str, ...], str]]:
    """Return the failed checks beyond the table's ranges: keys and violated condition.

    Raises:
        ConfigurationError: as ``strategies.find_contradictions``.
    """
    cycle, web, demo = settings.cycle, settings.web, settings.demo
    supervision, enabled = settings.supervision, settings.strategies.enabled
    listeners = (web.host, web.port) == (web.operator_host, web.operator_port) and web.port != 0
    spans = {"cycle.period_s": cycle.period_s, "cycle.timeframe_s": cycle.timeframe_s}
    spans["demo.bar_s"] = demo.bar_s
    longer_s = {"cycle.candidate_ttl_s": cycle.candidate_ttl_s, "cycle.period_s": cycle.period_s}
    longer_s["supervision.handler_deadline_s"] = supervision.handler_deadline_s
    checks: list[tuple[bool, tuple[str, ...], str]] = [
        *(
            (DAY_S % span_s == 0, (key,), f"must divide a day (86,400 s), got {span_s}")
            for key, span_s in spans.items()
        ),
        (
            cycle.timeframe_s % demo.bar_s == 0 or demo.bar_s % cycle.timeframe_s == 0,
            ("cycle.timeframe_s", "demo.bar_s"),
            f"one must be a multiple of the other, got {cycle.timeframe_s} s and {demo.bar_s} s",
        ),
        (
            not listeners,
            ("web.port", "web.operator_port"),
            f"the public and the operator listener need different ports, not both {web.port}",
        ),
        (
            all(is_network(proxy) for proxy in web.trusted_proxies),
            ("web.trusted_proxies",),
            "expects IP addresses or networks such as 10.0.0.0/8, got"
            f" {', '.join(web.trusted_proxies)}",
        ),
        (
            is_public_url(settings.site.public_url),
            ("site.public_url",),
            f"{PUBLIC_URL}, got {settings.site.public_url!r}",
        ),
        (bool(enabled), ("strategies.enabled",), "is empty; name at least one strategy"),
        (
            len(set(enabled)) == len(enabled),
            ("strategies.enabled",),
            f"names a strategy twice; name each once, got {', '.join(enabled)}",
        ),
        *((False, *each) for each in strategies.find_contradictions(settings.strategies)),
        (
            supervision.backoff_cap_ms >= supervision.backoff_base_ms,
            ("supervision.backoff_cap_ms", "supervision.backoff_base_ms"),
            f"backoff_cap_ms must be at least backoff_base_ms, got {supervision.backoff_cap_ms} and"
            f" {supervision.backoff_base_ms}",
        ),
    ]
    failed = [(keys, what) for holds, keys, what in checks if not holds]
    failed += find_veto_contradictions(settings.veto, settings.regime)
    return [*failed, *find_refiner_contradictions(settings.refiner, longer_s)]


def _build_group(
    group: type[Group], prefix: str, values: Mapping[str, object], types: ParameterTypes
) -> Group:
    hints = get_type_hints(group)
    given: dict[str, object] = {}
    for field in _setting_fields(group):
        key = f"{prefix}{field.name}"
        if _holds_parameters(group, field.name):
            given[field.name] = {
                name: _build_group(kind, f"{prefix}{name}.", values, types)
                for name, kind in types.items()
            }
        elif attrs.has(hints[field.name]):
            given[field.name] = _build_group(hints[field.name], f"{key}.", values, types)
        elif key in values:
            given[field.name] = values[key]
    return group(**given)
