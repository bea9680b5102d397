"""Settings: frozen, validated, each value with its origin; ``kamou.toml`` and the environment.

Order: options over environment (``KAMOU__GROUP__NAME``) over ``kamou.toml`` over the defaults.
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
    timeframe_s: int = 900  # trade timeframe; never finer than the market's own bars
    shards: int = 2  # scanners; every one more repeats the fixed cost of a bar
    shard_deadline_ms: int = 2_000  # a later shard is left out of this cycle
    candidate_ttl_s: int = 60  # a candidate not acted on by then expires
    candidates_max: int = 20  # candidates journalled and offered to T2


@attrs.frozen(kw_only=True)
class ExchangeSettings:
    """The embedded exchange's models; each model says what its assumption costs."""

    latency_ms: int = 150
    attached_stop: bool = True
    volume_participation: Decimal = D("0.1")  # of a bar's volume that one order may take
    gap_range_atr: Decimal = D("5")  # a bar wider than this fills stops beyond the trigger
    gap_depth: Decimal = D("0.25")  # how far from trigger towards the extreme


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
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks that stand for many readers
    header_bytes_max: int = 16_384
    headers_max: int = 100
    pipelined_max: int = 16
    request_s: int = 30
    stall_s: int = 15
    keep_alive_s: int = 15
    site_nice: int = 10  # added to the trading process's: readers yield to it
    site_memory_max_mb: int = 512  # resident; it takes about 57 with 2,000 readers
    site_address_space_max_mb: int = 2_048  # backstop: 40 threads reserve up to 1,445
    site_descriptors_max: int = 2_304  # 2,000 connections and what serves them
    site_render_max_s: int = 30  # an open snapshot keeps the WAL from being checkpointed
    site_silence_max_s: int = 10  # twenty heartbeats
    site_start_max_s: int = 60  # half a second on a quiet machine, much more on a busy one


@attrs.frozen(kw_only=True)
class SiteSettings:
    public_url: str = ""  # where readers find the site


@attrs.frozen(kw_only=True)
class StoreSettings:
    group_commit_ms: int = 20
    snapshot_every: int = 20_000  # events: half a second of folding at a start
    batch_max: int = 1_000


@attrs.frozen(kw_only=True)
class DataSettings:
    """What one folder of market data may hold: files come from strangers, memory is ours."""

    rows_max: int = 10_000_000  # of all files; about 160 bytes of memory each while checked
    symbols_max: int = 5_000  # the largest venues list some hundreds of perpetuals
    columns_max: int = 1_000  # of one file; a kline file has twelve
    files_max: int = 10_000  # a file per symbol and month: 400 symbols of two years
    cells_max: int = 20_000_000  # bars x symbols, gaps included; 36 bytes of memory each
    unpacked_mb_max: int = 2_000  # of all files: some 200 bytes for each of the rows


@attrs.frozen(kw_only=True)
class SupervisionSettings:
    intensity: int = 5  # restarts ...
    period_s: int = 60  # ... within this many seconds escalate
    backoff_base_ms: int = 100
    backoff_cap_ms: int = 30_000
    backoff_reset_s: int = 300  # without a crash, the back-off starts again
    handler_deadline_s: int = 30
    grace_s: int = 10  # orderly stop
    heartbeat_s: int = 30  # synchronous code blocking the loop longer than this ends the process


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
    """Settings that passed every check, and where each value came from."""

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
        ConfigurationError: every problem found, a line each: where it stands, what is wrong,
            what was expected.
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
    """SHA-256, in hex, of the canonical JSON of every setting that decides anything.

    Where it runs and how it is shown (data directory, listeners, pricing) is left out, and so is
    the reason for a change: the same digest means the same decisions.
    """
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def canonical_json(settings: Settings) -> str:
    """The deciding settings as JSON: keys sorted, no spaces, decimals as shortest plain text."""
    table = settings_table()
    decisive = {key: plain(value) for key, value in by_key(settings).items() if table[key].decides}
    return json.dumps(decisive, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: object) -> object:
    """A setting's value as JSON knows it."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def by_key(group: attrs.AttrsInstance) -> dict[str, object]:
    """Dotted key -> value, in the order of the fields."""
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
    """Dotted key -> declared type, in the order of the fields."""
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
    """Values that are fine alone and wrong together: the keys, and what does not hold."""
    cycle, web, demo = settings.cycle, settings.web, settings.demo
    supervision = settings.supervision
    listeners = (web.host, web.port) == (web.operator_host, web.operator_port) and web.port != 0
    enabled = settings.strategies.enabled
    checks: list[tuple[bool, tuple[str, ...], str]] = [
        (DAY_S % cycle.period_s == 0, ("cycle.period_s",), "must divide a day, to align with UTC"),
        (DAY_S % cycle.timeframe_s == 0, ("cycle.timeframe_s",), "must divide a day"),
        (DAY_S % demo.bar_s == 0, ("demo.bar_s",), "must divide a day"),
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
        (bool(enabled), ("strategies.enabled",), "names no strategy"),
        (len(set(enabled)) == len(enabled), ("strategies.enabled",), "names a strategy twice"),
        *(
            (False, keys, what)
            for keys, what in strategies.find_contradictions(settings.strategies)
        ),
        (
            supervision.backoff_cap_ms >= supervision.backoff_base_ms,
            ("supervision.backoff_cap_ms", "supervision.backoff_base_ms"),
            "the cap must not be below the base",
        ),
    ]
    return [(keys, what) for holds, keys, what in checks if not holds]


def commented_toml() -> str:
    """A `kamou.toml` that says everything and changes nothing: every default, commented out."""
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
            f"{path}: cannot be read: {error.strerror}; `kamou init` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text: {error.reason}") from error
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from error
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
    """Every group and the groups above it: strategies.oi_momentum brings strategies."""
    parts = [group.split(".") for group in groups]
    return frozenset(".".join(part[:n]) for part in parts for n in range(1, len(part) + 1))


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    return {
        name.removeprefix(_PREFIX).replace("__", ".").lower(): (name, Text(value))
        for name, value in sorted(environ.items())
        if name.startswith(_PREFIX)
    }


def _nearest(key: str, known: Iterable[str]) -> str:
    """The valid key most like this one: by the whole key, else by its last part."""
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
