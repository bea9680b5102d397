"""Text of `kamou status`, whole or as a frame, and the troubles that it lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from kamou.commands.book import describe_loss
from kamou.commands.figures import moment_text, money_text, percent_text, span_text
from kamou.commands.position_text import describe_unprotected, entry_lines, position_lines
from kamou.commands.printing import TROUBLE
from kamou.commands.text_layout import align_columns, count_cells, cut, flow, limit_lines, wrap
from kamou.core.kinds import TradingState
from kamou.core.words import count_words, describe_state, state_cause, strategy_name
from kamou.escaping import escape_text
from kamou.operator.phases import RunPhase

Status = Mapping[str, Any]
"""The document of ``status_sources.read_status``."""

CHILD_CELLS_MAX = 28
# Of ``ChildState``, whose module imports Trio:
RUNNING = "running"
WAITING = "backing-off"  # the next start is delayed
PHASES: Mapping[str, str] = {
    RunPhase.STARTING: "starting",
    RunPhase.FAST_FORWARD: "simulating the days before now",
    RunPhase.TRADING: "trading",
    RunPhase.REPLAYED: "the replay has ended",
    RunPhase.STOPPING: "stopping",
}


def full_lines(status: Status, width: int) -> list[str]:
    """Return the whole status in lines of at most ``width`` cells."""
    book, system = status["book"], status["system"]
    blocks = [title_lines(status, width), trouble_lines(status, width)]
    if book is not None:
        blocks += [_facts("account", account_facts(book), width)]
        blocks += [position_lines(book, width), entry_lines(book, width)]
    if system is not None:
        blocks += system_blocks(system, width)
    return _separate_blocks(blocks)


def repeated_lines(status: Status, width: int) -> list[str]:
    """Return a short status without empty lines, for `--watch` without a terminal."""
    book, system = status["book"], status["system"]
    lines = [*title_lines(status, width), *trouble_lines(status, width)]
    if book is not None:
        lines += _facts("account", account_facts(book), width)
        lines += [*position_lines(book, width), *entry_lines(book, width)]
    return lines if system is None else [*lines, *summary_lines(system, width)]


def frame_lines(status: Status, width: int, height: int) -> list[str]:
    """Return the most important part of the status in at most ``height`` lines.

    Positions and pending entries that do not fit are counted; in a low terminal, lines about the
    system are left out without a count.
    """
    book, system = status["book"], status["system"]
    head = limit_lines(title_lines(status, width), 3)
    most = max(2, height // 4)
    head += limit_lines(trouble_lines(status, width, most=2), most, "more lines; see kamou status")
    tail = [] if system is None else summary_lines(system, width, most=max(1, height // 4))
    if book is None:
        return _fit_blocks([head, tail], width, height)
    facts = {
        **dict(account_facts(book)),
        "state": str(book["state"]),
    }  # the trouble lines have its reason
    pieces = [f"{name} {value}" for name, value in facts.items()]
    account = limit_lines(flow(pieces, width, indent=""), max(2, height // 3))
    entries = entry_lines(book, width, max(2, height // 6))
    room = height - sum(map(len, (head, account, entries, tail)))
    if room < min(
        5, 2 + len(book["positions"])
    ):  # heading, header, two positions, the count of the rest
        entries, tail = limit_lines(entries, 2, "more pending entries"), tail[:1]
        room = height - sum(map(len, (head, account, entries, tail)))
    positions = position_lines(book, width, max(2, room))
    return _fit_blocks([head, account, positions, entries, tail], width, height)


def title_lines(status: Status, width: int) -> list[str]:
    """Return mode, phase, process id, time since its start, and time of the status.

    Without a run they are mode, NOT RUNNING, and the times of the record's end and of the status.
    """
    book, system, run = status["book"], status["system"], status["run"] or {}
    mode = run.get("mode") or (book["mode"] if book else None)
    pieces = [f"kamou {_escape(mode)}" if mode else "kamou"]
    if status["running"]:
        pieces.append(PHASES.get(str((system or {}).get("phase")), "running"))
        up = span_text(run.get("started_at_ms"), status["at_ms"])
        pieces.append(f"process {_escape(run.get('pid'))}, up {up}")
    else:
        pieces.append("NOT RUNNING")
        if book:
            pieces.append(f"on record up to {moment_text(book['as_of_ms'])}")
    pieces.append(moment_text(status["at_ms"]))
    return flow(pieces, width, indent="")


def trouble_lines(status: Status, width: int, *, most: int | None = None) -> list[str]:
    """Return the troubles in lines, at most ``most`` lines for each."""
    lines: list[str] = []
    for sentence in find_troubles(status):
        wrapped = wrap(TROUBLE + sentence, width)
        if most is not None and len(wrapped) > most:
            rest = " ".join(line.strip() for line in wrapped[most - 1 :])
            wrapped = [*wrapped[: most - 1], cut(f"  {rest}", width)]
        lines += wrapped
    return lines


def find_troubles(status: Status) -> list[str]:
    """Return a sentence for each condition that needs the operator, most urgent first."""
    book, system = status["book"], status["system"] or {}
    found = [_escape(status["notice"])] if status.get("notice") else []
    found += map(_escape, system.get("not_ready") or ())
    found += describe_latch(status)
    if book is not None:
        found += describe_unprotected(book)
        if book["state"] != TradingState.ACTIVE:
            found.append(f"trading state {_full_state_words(book)}")
        if not status["running"]:
            found += [
                f"strategy {strategy_name(_escape(name))} is disabled until `kamou resume` "
                "during a run"
                for name in book["disabled_strategies"]
            ]
    found += [
        f"{_escape(node.get('id'))} waits for its next start; its last error: "
        f"{_escape(node.get('last_error') or 'not known')}"
        for _, node in walk_tree(system)
        if node.get("state") == WAITING
    ]
    found += map(_escape, system.get("degraded") or ())
    found += [
        f"strategy {strategy_name(_escape(each['strategy']))} failed"
        f" {count_words(each['count'], 'time')} at {_escape(each['place'])}, last"
        f" {moment_text(each['last_at_ms'])}: {_escape(each['error'])}"
        for each in system.get("strategy_failures") or ()
    ]
    return found


def describe_latch(status: Status) -> list[str]:
    """Return a sentence about a halt latch that is set while no run answers, or none."""
    latch = status.get("latch")
    if status["running"] or latch is None:
        return []
    said = f', "{_escape(latch["reason"])}"' if latch["reason"] else ""
    if not latch["flattened"]:
        return [
            f"halted since {moment_text(latch['at_ms'])}{said}: entries are blocked until"
            " `kamou resume`"
        ]
    return [
        f"flattened {moment_text(latch['at_ms'])}{said}, after this record: its open positions"
        " may be closed, and entries are blocked until `kamou resume`"
    ]


def account_facts(book: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of the account's figures, the most important first."""
    day, currency = book["day"], _escape(book["currency"])
    facts = [
        ("state", _state_words(book)),
        ("mode", _escape(book["mode"] or "-")),
        ("equity", f"{money_text(book['equity'])} {currency}"),
        ("wallet balance", f"{money_text(book['wallet_balance'])} {currency}"),
        ("unrealized", f"{money_text(book['unrealized_pnl'], signed=True)} {currency}"),
        ("today", percent_text(day["result"], signed=True) if day else "not known"),
        ("loss today", describe_loss(day)),
        ("loss budget left", percent_text(day["loss_budget_left"]) if day else "not known"),
        ("last cycle", moment_text(book["cycle_at_ms"])),
        ("account as of", moment_text(book["equity_at_ms"])),
    ]
    if book["disabled_strategies"]:
        facts.insert(1, ("disabled strategies", _strategies(book["disabled_strategies"])))
    return facts


def _strategies(names: Sequence[str]) -> str:
    return ", ".join(strategy_name(_escape(name)) for name in names)


def _state_words(book: Mapping[str, Any]) -> str:
    """Return the trading state, and its cause if it is not active, in words."""
    code, reason = str(book["state"]), book["state_reason"]
    if code == TradingState.ACTIVE:
        return code
    why = f": {_escape(state_cause(code, reason))}" if reason else ""
    return f"{_escape(describe_state(code, holding=bool(book['positions'])))}{why}"


def _full_state_words(book: Mapping[str, Any]) -> str:
    """Return the trading state, its cause, duration and operator's reason in words."""
    lasting = f"for {span_text(book['state_since_ms'], book['as_of_ms'])}"
    said = f', "{_escape(book["state_note"])}"' if book["state_note"] else ""
    return f"{_state_words(book)}, {lasting}{said}"


# --- the system ------------------------------------------------------------------


def system_blocks(system: Mapping[str, Any], width: int) -> list[list[str]]:
    """Return the blocks of supervision tree, mailboxes, site, order flow and loop lag."""
    blocks = [_tree(system, width), _mailboxes(system, width)]
    if site := system.get("site"):
        facts = [(name.replace("_", " "), _escape(value)) for name, value in site.items()]
        blocks.append(_facts("public site", [f for f in facts if f[1]], width))
    if gathering := describe_order_flow(system):
        blocks.append(_facts("order flow", gathering, width))
    if lag := _loop_lag(system):
        blocks.append(_facts("loop lag", lag, width))
    return blocks


def summary_lines(system: Mapping[str, Any], width: int, *, most: int | None = None) -> list[str]:
    """Return a few lines about children, mailboxes, site, order flow, lag and errors."""
    workers = [node for _, node in walk_tree(system) if not node.get("children")]
    running = sum(node.get("state") == RUNNING for node in workers)
    restarted = [node for _, node in walk_tree(system) if node.get("restarts")]
    restarts = sum(int(node["restarts"]) for node in restarted)
    boxes = [box for node in workers for box in node.get("mailboxes", ())]
    site = system.get("site") or {}
    pieces = [f"system: {running} of {len(workers)} children running, {_count_restarts(restarts)}"]
    if boxes:
        counts = (f"{sum(box[name] for box in boxes)} {name}" for name in ("dropped", "expired"))
        waiting = sum(box["depth"] for box in boxes)
        pieces.append(f"mailboxes: {waiting} waiting, {', '.join(counts)}")
    if site:
        pieces.append(
            f"site: {_escape(site.get('state'))}, {_count_restarts(site.get('restarts'))}"
        )
    pieces += [f"order flow {name} {value}" for name, value in describe_order_flow(system)[:2]]
    pieces += [f"loop lag {name} {value}" for name, value in _loop_lag(system)]
    lines = flow(pieces, width, indent="")
    lines += [cut("  " + line, width) for line in _error_lines(restarted)]
    return lines if most is None else limit_lines(lines, most, "more lines; see kamou status")


def describe_order_flow(system: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values about the gathered order flow; none if none is gathered."""
    gathered = system.get("order_flow")
    if not gathered:
        return []
    known = f"{_escape(gathered['known'])} of {_escape(gathered['symbols'])} symbols known"
    newest = "none yet"
    if gathered["window_ms"] is not None:
        newest = f"until {moment_text(gathered['window_ms'])}, {known}"
    return [
        ("window", newest),
        ("streams", f"{_escape(gathered['streams'])} of {_escape(gathered['shards'])} open"),
        ("breaks", f"{_escape(gathered['breaks'])} since the start"),
        ("windows", f"{_escape(gathered['windows'])} handed over"),
    ]


def walk_tree(system: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield depth and node of the supervision tree, parents before their children."""
    waiting = [(0, system.get("supervision") or {})]
    while waiting:
        depth, node = waiting.pop()
        if node:
            yield depth, node
        waiting += [(depth + 1, child) for child in reversed(node.get("children", ()))]


def _error_lines(restarted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each restarted child, most restarts first."""
    return [
        f"{_escape(node.get('id'))}: {_count_restarts(node['restarts'])}, last error"
        f" {_escape(node.get('last_error') or 'not known')}"
        for node in sorted(restarted, key=lambda node: -int(node["restarts"]))
    ]


def _count_restarts(restarts: object) -> str:
    return f"{_escape(restarts)} restart" + ("" if restarts == 1 else "s")


def _tree(system: Mapping[str, Any], width: int) -> list[str]:
    rows: list[tuple[str, ...]] = [("child", "state", "incarnation", "restarts")]
    restarted = []
    for depth, node in walk_tree(system):
        name = "  " * depth + cut(_escape(node.get("id")), CHILD_CELLS_MAX)
        facts = (node.get(key) for key in ("state", "incarnation", "restarts"))
        rows.append((name, *("" if fact is None else _escape(fact) for fact in facts)))
        if node.get("restarts"):
            restarted.append(node)
    if len(rows) == 1:
        return []
    errors = [wrap("  " + error, width, hang="    ") for error in _error_lines(restarted)]
    lines = ["system", *_table(rows, width, right=(2, 3))]
    return [*lines, "last errors", *chain(*errors)] if errors else lines


def _mailboxes(system: Mapping[str, Any], width: int) -> list[str]:
    names = ("name", "depth", "peak", "dropped", "expired")
    rows = [
        tuple(_escape(box[name]) for name in names)
        for _, node in walk_tree(system)
        for box in node.get("mailboxes", ())
    ]
    if not rows:
        return []
    return ["mailboxes", *_table([("mailbox", *names[1:]), *rows], width, right=(1, 2, 3, 4))]


def _loop_lag(system: Mapping[str, Any]) -> list[tuple[str, str]]:
    gauges = system.get("gauges") or {}
    named = (("max", "loop_lag_max_seconds"), ("p99", "loop_lag_p99_seconds"))
    found = ((name, gauges.get(key)) for name, key in named)
    return [(name, f"{1000 * value:.1f} ms") for name, value in found if value is not None]


# --- lines -----------------------------------------------------------------------


def _facts(heading: str, facts: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Return a heading and one line per name and value, with the values aligned."""
    room = max((count_cells(name) for name, _ in facts), default=0)
    lines = [heading]
    for name, value in facts:
        lines += _fact(name, value, room, width)
    return lines


def _fact(name: str, value: str, room: int, width: int) -> list[str]:
    left = f"  {name}" + " " * (room - count_cells(name) + 2)
    first, *others = wrap(value, max(8, width - count_cells(left)), hang="")
    return [
        cut(left + first, width),
        *(cut(" " * count_cells(left) + line, width) for line in others),
    ]


def _table(rows: Sequence[Sequence[str]], width: int, *, right: Sequence[int]) -> list[str]:
    return [cut("  " + line, width) for line in align_columns(rows, right=right)]


def _separate_blocks(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Return the blocks with an empty line between them."""
    lines: list[str] = []
    for block in blocks:
        if block:
            lines += ["", *block] if lines else block
    return lines


def _fit_blocks(blocks: Sequence[Sequence[str]], width: int, height: int) -> list[str]:
    """Return the blocks in at most ``height`` lines, if necessary without empty lines."""
    lines = _separate_blocks(blocks)
    if len(lines) > height:
        lines = [line for block in blocks for line in block]
    return [cut(line, width) for line in limit_lines(lines, height)]


def _escape(text: object) -> str:
    return escape_text(str(text))
