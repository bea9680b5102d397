"""Frozen and validated settings, each value with its origin.

Options override the environment (``KAMOU__GROUP__NAME``), and that overrides ``kamou.toml``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import attrs

from kamou.core.risk.limits import CostModel, RiskLimits, VetoLimits
from kamou.errors import ConfigurationError
from kamou.settings import strategies
from kamou.settings.strategies import StrategySettings
from kamou.settings.table import settings_table
from kamou.settings.toml_text import line_of_key, lines_of_keys
from kamou.settings.values import EXPECTED, PUBLIC_URL, Text, converted, is_network, is_public_url

D = Decimal
DAY_S = 86_400
Group = TypeVar("Group", bound=attrs.AttrsInstance)


@attrs.frozen(kw_only=True)
class CycleSettings:
    period_s: int = 300  # one scan, one reconciliation, two ledger pages
    bar_delay_ms: int = 2_000  # venues publish a closed bar a little late
    timeframe_s: int = 900  # the bars on which strategies trade
    shards: int = 2  # scanners; each repeats the fixed cost of a bar
    shard_deadline_ms: int = 2_000  # a later shard is left out of the cycle
    candidate_ttl_s: int = 60  # an unused candidate expires
    candidates_max: int = 20  # candidates that a cycle passes to T2


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """The embedded exchange's models; each model says what its assumption costs."""

    latency_ms: int = 150
    attached_stop: bool = True
    volume_participation: Decimal = D("0.1")  # of a bar's volume that one order may take
    gap_range_atr: Decimal = D("5")  # a bar wider than this fills stops beyond the trigger
    gap_depth: Decimal = D("0.25")  # 0: at the trigger, 1: at the extreme


@attrs.frozen(kw_only=True)
class DemoSettings:
    seed: int = 7
    symbols: int = 220
    days: int = 120  # of simulated trading before "now"
    warmup_days: int = 35  # of market history before the first trading day
    bar_s: int = 300


@attrs.frozen(kw_only=True)
class WebSettings:
    host: str = "127.0.0.1"
    port: int = 8080
    operator_host: str = "127.0.0.1"
    operator_port: int = 8081
    operator_tcp: bool = True  # False: the Unix socket in the data directory alone
    pricing_file: str = ""  # the operator's Markdown for /pricing
    connections_max: int = 2_000  # of the public listener, as those below
    connections_per_address_max: int = 100
    trusted_proxies: tuple[str, ...] = ()  # reverse proxies, each in front of many readers
    header_bytes_max: int = 16_384
    headers_max: int = 100
    pipelined_max: int = 16
    request_s: int = 30
    stall_s: int = 15
    keep_alive_s: int = 15
    site_nice: int = 10  # so that the trading process gets the CPU first
    site_memory_max_mb: int = 512  # resident; about 57 with 2,000 readers
    site_address_space_max_mb: int = 2_048  # 40 threads reserve up to 1,445
    site_descriptors_max: int = 2_304  # 2,000 connections and the process's own files
    site_render_max_s: int = 30  # an open snapshot keeps the WAL from being checkpointed
    site_silence_max_s: int = 10  # twenty heartbeats
    site_start_max_s: int = 60  # 0.5 s on an idle machine


@attrs.frozen(kw_only=True)
class SiteSettings:
    public_url: str = ""  # address where readers find the site


@attrs.frozen(kw_only=True)
class StoreSettings:
    group_commit_ms: int = 20
    snapshot_every: int = 20_000  # events: folding them takes 0.5 s at a start
    batch_max: int = 1_000


@attrs.frozen(kw_only=True)
class DataSettings:
    """Limits of one folder of market data, because its files come from strangers."""

    rows_max: int = 10_000_000  # of all files; 160 bytes of memory each during the checks
    symbols_max: int = 5_000  # the largest venues list hundreds of perpetuals
    columns_max: int = 1_000  # of one file; a kline file has twelve
    files_max: int = 10_000  # one per symbol and month: 400 symbols of two years
    cells_max: int = 20_000_000  # bars x symbols, gaps included; 36 bytes of memory each
    unpacked_mb_max: int = 2_000  # of all files: 200 bytes a row


@attrs.frozen(kw_only=True)
class SupervisionSettings:
    intensity: int = 5  # restarts in period_s; one more escalates
    period_s: int = 60  # over which restarts are counted
    backoff_base_ms: int = 100
    backoff_cap_ms: int = 30_000
    backoff_reset_s: int = 300  # without a crash, the wait starts again at its base
    handler_deadline_s: int = 30
    grace_s: int = 10  # orderly stop
    heartbeat_s: int = 30  # a loop blocked for longer ends the process


@attrs.frozen(kw_only=True)
class Settings:
    mode: str = "demo"  # demo | paper | live
    data_dir: Path = Path("kamou-data")
    equity: Decimal = D("10000")  # USDT, demo and paper
    currency: str = "USDT"
    change_reason: str = ""  # why this configuration differs from the last
    cycle: CycleSettings = CycleSettings()
    risk: RiskLimits = RiskLimits()
    costs: CostModel = CostModel()
    veto: VetoLimits = VetoLimits()
    strategies: StrategySettings = attrs.field(factory=StrategySettings)
    exchange: ExchangeSettings = ExchangeSettings()
    demo: DemoSettings = DemoSettings()
    web: WebSettings = WebSettings()
    site: SiteSettings = SiteSettings()
    store: StoreSettings = StoreSettings()
    data: DataSettings = DataSettings()
    supervision: SupervisionSettings = SupervisionSettings()


@attrs.frozen(kw_only=True)
class Resolved:
    """Settings that passed every check, and the origin of each value."""

    settings: Settings
    origins: Mapping[str, str]  # dotted key -> default | kamou.toml:12 | KAMOU__... | --port
    digest: str


Overrides = Mapping[str, tuple[str, object]]  # dotted key -> (option as typed, value)

_PREFIX = "KAMOU__"


def load_settings(
    path: Path | None, environ: Mapping[str, str], overrides: Overrides | None = None
) -> Resolved:
    """Resolve the settings: options over environment over file over defaults.

    Raises:
        ConfigurationError: a line per problem: origin, key, value and what is expected.
    """
    raws = _from_file(path) if path else {}
    raws.update(_from_environment(environ))
    raws.update({key: (option, value) for key, (option, value) in (overrides or {}).items()})

    kinds, table = leaf_types(Settings), settings_table()
    values: dict[str, object] = {}
    problems: list[str] = []
    for key, (origin, raw) in raws.items():
        if key not in kinds:
            problems.append(f"{origin}: unknown setting {key}{_nearest(key, kinds)}")
            continue
        value = converted(kinds[key], raw)
        if value is None:
            expected = EXPECTED[kinds[key]] + (f" ({unit})" if (unit := table[key].unit) else "")
            problems.append(f"{origin}: {key} expects {expected}, got {raw!r}")
        elif refusal := table[key].refusal(value):
            problems.append(f"{origin}: {key} {refusal}")
        else:
            values[key] = value
    if problems:
        raise ConfigurationError(*problems)

    settings = _built(Settings, "", values)
    origins = {key: raws[key][0] if key in raws else "default" for key in kinds}
    problems = [
        f"{' and '.join(f'{key} ({origins[key]})' for key in keys)}: {what}"
        for keys, what in settings_contradictions(settings)
    ]
    if problems:
        raise ConfigurationError(*problems)
    return Resolved(settings=settings, origins=origins, digest=digest(settings))


def digest(settings: Settings) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of the settings that change trades.

    The data directory, the listeners, the pricing page and the reason for a change are left out:
    equal digests mean equal decisions.
    """
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def canonical_json(settings: Settings) -> str:
    """Return the settings that change trades as JSON: sorted keys, no spaces, plain decimals."""
    table = settings_table()
    decisive = {key: plain(value) for key, value in by_key(settings).items() if table[key].decides}
    return json.dumps(decisive, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: object) -> object:
    """Return a setting's value as a JSON type."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def by_key(group: attrs.AttrsInstance) -> dict[str, object]:
    """Return each value by its dotted key, in the order of the fields."""
    flat: dict[str, object] = {}
    for field in attrs.fields(type(group)):
        value = getattr(group, field.name)
        if attrs.has(type(value)):
            flat.update(_under(field.name, by_key(value)))
        elif isinstance(value, Mapping):  # the strategies' parameters: groups by their names
            for name, inner in value.items():
                flat.update(_under(name, by_key(inner)))
        else:
            flat[field.name] = value
    return flat


def _under(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": item for key, item in keys.items()}


def leaf_types(group: type) -> dict[str, Any]:
    """Return each declared type by its dotted key, in the order of the fields."""
    hints = get_type_hints(group)
    kinds: dict[str, Any] = {}
    for field in attrs.fields(group):
        kind = hints[field.name]
        if _is_parameters(group, field.name):
            for name, inner in strategies.strategy_parameter_classes().items():
                kinds.update(_under(name, leaf_types(inner)))
        elif attrs.has(kind):
            kinds.update(_under(field.name, leaf_types(kind)))
        else:
            kinds[field.name] = kind
    return kinds


def _is_parameters(group: type, field: str) -> bool:
    return group is StrategySettings and field == "parameters"


def settings_contradictions(settings: Settings) -> list[tuple[tuple[str, ...], str]]:
    """Return the checks between settings that fail: their keys, and what is wrong."""
    cycle, web, demo = settings.cycle, settings.web, settings.demo
    supervision = settings.supervision
    listeners = (web.host, web.port) == (web.operator_host, web.operator_port) and web.port != 0
    enabled = settings.strategies.enabled
    checks: list[tuple[bool, tuple[str, ...], str]] = [
        (DAY_S % cycle.period_s == 0, ("cycle.period_s",), "must divide a day (86,400 s)"),
        (DAY_S % cycle.timeframe_s == 0, ("cycle.timeframe_s",), "must divide a day (86,400 s)"),
        (DAY_S % demo.bar_s == 0, ("demo.bar_s",), "must divide a day (86,400 s)"),
        (
            cycle.timeframe_s % demo.bar_s == 0 or demo.bar_s % cycle.timeframe_s == 0,
            ("cycle.timeframe_s", "demo.bar_s"),
            "one must be a multiple of the other",
        ),
        (not listeners, ("web.port", "web.operator_port"), "the two listeners need two ports"),
        (
            all(is_network(proxy) for proxy in web.trusted_proxies),
            ("web.trusted_proxies",),
            "expects IP addresses or networks such as 10.0.0.0/8",
        ),
        (is_public_url(settings.site.public_url), ("site.public_url",), PUBLIC_URL),
        (bool(enabled), ("strategies.enabled",), "is empty; name a strategy"),
        (len(set(enabled)) == len(enabled), ("strategies.enabled",), "names a strategy twice"),
        *(
            (False, keys, what)
            for keys, what in strategies.find_contradictions(settings.strategies)
        ),
        (
            supervision.backoff_cap_ms >= supervision.backoff_base_ms,
            ("supervision.backoff_cap_ms", "supervision.backoff_base_ms"),
            "the cap must be at least the base",
        ),
    ]
    return [(keys, what) for holds, keys, what in checks if not holds]


def commented_toml() -> str:
    """Return the text of a `kamou.toml` with every default, commented out."""
    text = [
        "# Kamou's settings. Every line below shows a default; remove the # in front of a name to",
        "# change it. The environment comes before this file: KAMOU__RISK__LEVERAGE_MAX=3.",
        "# Secrets do not belong in this file: they are read from the environment only.",
    ]
    group_before, table = "", settings_table()
    for key, value in by_key(Settings()).items():
        group, _, name = key.rpartition(".")
        if group != group_before:
            text += ["", f"[{group}]"]
            group_before = group
        setting = table[key]
        limits = "; ".join(part for part in (setting.range_text(), setting.why) if part)
        about = f"{setting.about} [{setting.unit}]" if setting.unit else setting.about
        text.append(f"# {about}" + (f" ({limits})" if limits else ""))
        text.append(f"#{name} = {json.dumps(plain(value))}")
    return "\n".join(text) + "\n"


# --- sources -------------------------------------------------------------------------------


def _from_file(path: Path) -> dict[str, tuple[str, object]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}; `kamou init` writes a configuration file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8: {error.reason}; save it so") from error
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}; correct that line") from error
    lines = lines_of_keys(text)
    groups = {key.rpartition(".")[0] for key in leaf_types(Settings)}
    return {
        key: (f"{path}:{line_of_key(lines, key)}", value)
        for key, value in _leaves(document, "", _prefixes(groups))
    }


def _leaves(
    table: Mapping[str, object], prefix: str, groups: frozenset[str]
) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key in groups:
            yield from _leaves(value, f"{key}.", groups)
        else:
            yield key, value


def _prefixes(groups: Iterable[str]) -> frozenset[str]:
    """Return every group and the groups above it: strategies.oi_momentum adds strategies."""
    parts = [group.split(".") for group in groups]
    return frozenset(".".join(part[:n]) for part in parts for n in range(1, len(part) + 1))


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    return {
        name.removeprefix(_PREFIX).replace("__", ".").lower(): (name, Text(value))
        for name, value in sorted(environ.items())
        if name.startswith(_PREFIX)
    }


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return a phrase with the most similar key: by the whole key, else by its last part."""
    keys = list(known)
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if not close:
        last = {each.rpartition(".")[2]: each for each in keys}
        close = [
            last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1)
        ]
    return f"; did you mean {close[0]}?" if close else "; `kamou show-config` lists them all"


def _built(group: type[Group], prefix: str, values: Mapping[str, object]) -> Group:
    hints = get_type_hints(group)
    given: dict[str, object] = {}
    for field in attrs.fields(group):
        key = f"{prefix}{field.name}"
        if _is_parameters(group, field.name):
            given[field.name] = {
                name: _built(kind, f"{prefix}{name}.", values)
                for name, kind in strategies.strategy_parameter_classes().items()
            }
        elif attrs.has(hints[field.name]):
            given[field.name] = _built(hints[field.name], f"{key}.", values)
        elif key in values:
            given[field.name] = values[key]
    return group(**given)
