"""``/metrics``: the Prometheus text format 0.0.4, made from plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from kamou.core.model import TradingState
from kamou.runtime.supervision import ChildState
from kamou.site.health import SiteState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricKind(StrEnum):
    """The type of a metric family in the exposition format."""

    COUNTER = "counter"  # never falls within a run
    GAUGE = "gauge"  # the current value


_COUNTER, _GAUGE = MetricKind.COUNTER, MetricKind.GAUGE


@attrs.frozen(kw_only=True)
class Metric:
    """One metric family."""

    name: str
    help: str
    kind: MetricKind
    samples: Sequence[tuple[Mapping[str, str], float]]


# field of a mailbox's statistics -> (metric, kind, help text)
MAILBOX_FIELDS = {
    "depth": ("kamou_mailbox_depth", _GAUGE, "Messages that wait now."),
    "capacity": ("kamou_mailbox_capacity", _GAUGE, "Maximum number of messages that may wait."),
    "peak": ("kamou_mailbox_peak", _GAUGE, "Maximum number of messages that waited at once."),
    "accepted": ("kamou_mailbox_accepted_total", _COUNTER, "Messages accepted."),
    "rejected": (
        "kamou_mailbox_rejected_total",
        _COUNTER,
        "Messages rejected because the mailbox was full.",
    ),
    "dropped": ("kamou_mailbox_dropped_total", _COUNTER, "Messages dropped or conflated."),
    "expired": ("kamou_mailbox_expired_total", _COUNTER, "Messages that expired unread."),
    "dead_letters": ("kamou_mailbox_dead_letters_total", _COUNTER, "Dead letters."),
}
# field of a child in the supervisor's snapshot -> the same
CHILD_FIELDS = {
    "restarts": ("kamou_actor_restarts_total", _COUNTER, "Restarts of this child."),
    "busy_s": ("kamou_actor_busy_seconds_total", _COUNTER, "Seconds spent on messages."),
}

# field of the health of the public site's process -> the same
SITE_FIELDS = {
    "requests": ("kamou_site_requests_total", _COUNTER, "Requests to the public site."),
    "accepted": ("kamou_site_connections_total", _COUNTER, "Connections that were accepted."),
    "refused": ("kamou_site_rejected_total", _COUNTER, "Connections and requests rejected."),
    "cut": (
        "kamou_site_cut_total",
        _COUNTER,
        "Connections cut: slow, not reading, or at a stop.",
    ),
    "failed": ("kamou_site_failed_total", _COUNTER, "Connections that an exception ended."),
    "renders": ("kamou_site_renders_total", _COUNTER, "Pages rendered, failed ones included."),
    "restarts": (
        "kamou_site_restarts_total",
        _COUNTER,
        "Starts of the site's process after the first.",
    ),
    "troubles": (
        "kamou_site_troubles_total",
        _COUNTER,
        "Failed starts, crashes, timeouts and exceeded limits.",
    ),
    "connections": ("kamou_site_connections", _GAUGE, "Connections that are open."),
    "memory_bytes": ("kamou_site_memory_bytes", _GAUGE, "Resident memory of the process."),
    "descriptors": ("kamou_site_descriptors", _GAUGE, "Open files and connections."),
}

# field of the traffic of one of the operator's listeners -> the same
LISTENER_FIELDS = {
    "requests": ("kamou_operator_requests_total", _COUNTER, "Requests to this listener."),
    "connections_total": (
        "kamou_operator_connections_total",
        _COUNTER,
        "Connections that were accepted.",
    ),
    "connections_now": ("kamou_operator_connections", _GAUGE, "Connections that are open."),
    "failed": ("kamou_operator_failed_total", _COUNTER, "Connections that an exception ended."),
}
# prefix of its fields that count by reason -> the same
LISTENER_REASONS = {
    "refused_": ("kamou_operator_rejected_total", _COUNTER, "Connections and requests rejected."),
    "cut_": (
        "kamou_operator_cut_total",
        _COUNTER,
        "Connections cut before their response ended.",
    ),
}


def exposition(snapshot: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Return all metrics of a supervisor's snapshot and of ``status``, as text.

    Args:
        snapshot: a node of the supervision tree, with its children.
        status: ``gauges`` maps names (``open_positions``) to numbers, or to None to omit one;
            ``state`` is the trading state; ``listeners`` maps the operator's listeners to the
            counters of their traffic; ``site`` has the health of the public site;
            ``disabled_strategies`` has names, and ``strategy_failures`` a row for each strategy,
            kind and place. Each may be missing.
    """
    children = list(_children(snapshot))
    families = [
        *(_child_family(children, field, *about) for field, about in CHILD_FIELDS.items()),
        Metric(
            name="kamou_actor_up",
            help="1 while this child runs, else 0.",
            kind=_GAUGE,
            samples=[
                ({"actor": str(c["id"])}, float(c.get("state") == ChildState.RUNNING))
                for c in children
            ],
        ),
        *(_mailbox_family(children, field, *about) for field, about in MAILBOX_FIELDS.items()),
        Metric(
            name="kamou_trading_state",
            help="1 for the current trading state, 0 for the others.",
            kind=_GAUGE,
            samples=[({"state": s}, float(s == status.get("state"))) for s in TradingState],
        ),
        Metric(
            name="kamou_strategy_disabled",
            help="1 for a strategy that waits for the operator to resume it.",
            kind=_GAUGE,
            samples=[({"strategy": s}, 1.0) for s in status.get("disabled_strategies") or ()],
        ),
        _failure_family(status.get("strategy_failures") or ()),
        *_site_families(status.get("site") or {}),
        *_listener_families(status.get("listeners") or {}),
        *(
            Metric(name=f"kamou_{name}", help=name, kind=_GAUGE, samples=[({}, float(value))])
            for name, value in sorted(status.get("gauges", {}).items())
            if value is not None
        ),
    ]
    return "".join(line for family in families for line in _format_family(family))


def _children(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield all nodes below this one."""
    for child in node.get("children", ()):
        yield child
        yield from _children(child)


def _child_family(
    children: Sequence[Mapping[str, Any]], field: str, name: str, kind: MetricKind, about: str
) -> Metric:
    samples = [({"actor": str(c["id"])}, float(c[field])) for c in children if field in c]
    return Metric(name=name, help=about, kind=kind, samples=samples)


def _mailbox_family(
    children: Sequence[Mapping[str, Any]], field: str, name: str, kind: MetricKind, about: str
) -> Metric:
    samples = [
        ({"mailbox": str(box["name"])}, float(box[field]))
        for child in children
        for box in child.get("mailboxes", ())
    ]
    return Metric(name=name, help=about, kind=kind, samples=samples)


def _failure_family(failures: Sequence[Mapping[str, Any]]) -> Metric:
    counts: Counter[tuple[str, str]] = Counter()
    for each in failures:
        counts[str(each["strategy"]), str(each["kind"])] += int(each["count"])
    return Metric(
        name="kamou_strategy_failures_total",
        help="Evaluations in which a strategy raised an error or gave invalid scores.",
        kind=_COUNTER,
        samples=[({"strategy": s, "kind": k}, float(n)) for (s, k), n in counts.items()],
    )


def _site_families(site: Mapping[str, Any]) -> Iterator[Metric]:
    for field, (name, kind, about) in SITE_FIELDS.items():
        if field in site:
            yield Metric(name=name, help=about, kind=kind, samples=[({}, float(site[field]))])
    if "state" in site:
        up = float(site["state"] == SiteState.SERVING)
        about = "1 while the public site serves, else 0."
        yield Metric(name="kamou_site_up", help=about, kind=_GAUGE, samples=[({}, up)])


def _listener_families(listeners: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    for field, (name, kind, about) in LISTENER_FIELDS.items():
        samples = [
            ({"listener": each}, float(numbers[field])) for each, numbers in listeners.items()
        ]
        yield Metric(name=name, help=about, kind=kind, samples=samples)
    for prefix, (name, kind, about) in LISTENER_REASONS.items():
        by_reason = [
            ({"listener": each, "reason": field.removeprefix(prefix)}, float(count))
            for each, numbers in listeners.items()
            for field, count in numbers.items()
            if field.startswith(prefix)
        ]
        yield Metric(name=name, help=about, kind=kind, samples=by_reason)


def _format_family(family: Metric) -> Iterator[str]:
    """Yield the lines of one family; none without a sample."""
    if not family.samples:
        return
    yield f"# HELP {family.name} {family.help}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for labels, value in family.samples:
        pairs = ",".join(f'{name}="{_escape_label(text)}"' for name, text in labels.items())
        yield f"{family.name}{{{pairs}}} {value!r}\n" if pairs else f"{family.name} {value!r}\n"


def _escape_label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
