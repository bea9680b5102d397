"""What one look at the system saw, as lines for a person: all of it, or a frame of a given size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from kamou.commands.book import loss_words
from kamou.commands.figures import moment_text, money_text, percent_text, span
from kamou.commands.position_text import entry_lines, position_lines, unprotected
from kamou.commands.printing import TROUBLE
from kamou.commands.text_layout import cells, columns, cut, flow, limited, wrap
from kamou.core.codes import state_cause
from kamou.core.words import describe_state, strategy_name
from kamou.escaping import escape_text

Seen = Mapping[str, Any]

CHILD_CELLS_MAX = 28
WAITING = "backing-off"  # the state of a child whose next start is delayed
PHASES = {
    "starting": "starting",
    "fast-forward": "simulating the days before now",
    "trading": "trading",
    "replayed": "the replay has ended",
    "stopping": "stopping",
}


def whole(seen: Seen, width: int) -> list[str]:
    """Return everything that was seen, account and positions first, in lines that fit."""
    book, system = seen["book"], seen["system"]
    blocks = [title_lines(seen, width), trouble_lines(seen, width)]
    if book is not None:
        blocks += [_facts("account", account_facts(book), width)]
        blocks += [position_lines(book, width), entry_lines(book, width)]
    if system is not None:
        blocks += system_blocks(system, width)
    return _apart(blocks)


def status_lines(seen: Seen, width: int) -> list[str]:
    """Return one look of many: no empty line in it, and the system in a few lines."""
    book, system = seen["book"], seen["system"]
    lines = [*title_lines(seen, width), *trouble_lines(seen, width)]
    if book is not None:
        lines += _facts("account", account_facts(book), width)
        lines += [*position_lines(book, width), *entry_lines(book, width)]
    return lines if system is None else [*lines, *summary_lines(system, width)]


def frame(seen: Seen, width: int, height: int) -> list[str]:
    """Return what matters most in at most ``height`` lines; what has no room is counted."""
    book, system = seen["book"], seen["system"]
    head = limited(title_lines(seen, width), 3)
    most = max(2, height // 4)
    head += limited(trouble_lines(seen, width, most=2), most, "more lines; see kamou status")
    tail = [] if system is None else summary_lines(system, width, most=max(1, height // 4))
    if book is None:
        return _fitted([head, tail], width, height)
    facts = {**dict(account_facts(book)), "state": str(book["state"])}  # its reason is above
    pieces = [f"{name} {value}" for name, value in facts.items()]
    account = limited(flow(pieces, width, indent=""), max(2, height // 3))
    entries = entry_lines(book, width, max(2, height // 6))
    room = height - sum(map(len, (head, account, entries, tail)))
    if room < min(5, 2 + len(book["positions"])):  # heading, header, two positions, the rest
        entries, tail = limited(entries, 2, "more pending entries"), tail[:1]
        room = height - sum(map(len, (head, account, entries, tail)))
    positions = position_lines(book, width, max(2, room))
    return _fitted([head, account, positions, entries, tail], width, height)


def title_lines(seen: Seen, width: int) -> list[str]:
    """Say what runs, in which phase, and as of when."""
    book, system, run = seen["book"], seen["system"], seen["run"] or {}
    mode = run.get("mode") or (book["mode"] if book else None)
    pieces = [f"kamou {_safe(mode)}" if mode else "kamou"]
    if seen["running"]:
        pieces.append(PHASES.get(str((system or {}).get("phase")), "running"))
        pieces.append(
            f"process {_safe(run.get('pid'))}, up {span(run.get('started_at_ms'), seen['at_ms'])}"
        )
    else:
        pieces.append("NOT RUNNING")
        if book:
            pieces.append(f"on record up to {moment_text(book['as_of_ms'])}")
    pieces.append(moment_text(seen["at_ms"]))
    return flow(pieces, width, indent="")


def trouble_lines(seen: Seen, width: int, *, most: int | None = None) -> list[str]:
    """Return what needs the operator, each on lines of its own, at most so many for each."""
    lines: list[str] = []
    for sentence in troubles(seen):
        wrapped = wrap(TROUBLE + sentence, width)
        if most is not None and len(wrapped) > most:
            rest = " ".join(line.strip() for line in wrapped[most - 1 :])
            wrapped = [*wrapped[: most - 1], cut(f"  {rest}", width)]
        lines += wrapped
    return lines


def troubles(seen: Seen) -> list[str]:
    """Return what needs the operator, in sentences, the most urgent first."""
    book, system = seen["book"], seen["system"] or {}
    found = [_safe(seen["notice"])] if seen.get("notice") else []
    found += map(_safe, system.get("not_ready") or ())
    found += latched(seen)
    if book is not None:
        found += unprotected(book)
        if book["state"] != "active":
            found.append(f"trading state {_state_in_full(book)}")
        if not seen["running"]:
            found += [
                f"strategy {strategy_name(_safe(name))} is disabled"
                for name in book["disabled_strategies"]
            ]
    found += [
        f"{_safe(node.get('id'))} waits for its next start, {_safe(node.get('last_error'))}"
        for _, node in nodes(system)
        if node.get("state") == WAITING
    ]
    found += map(_safe, system.get("degraded") or ())
    return found


def latched(seen: Seen) -> list[str]:
    """Say what the halt latch holds while nothing runs; the record knows nothing of it yet."""
    latch = seen.get("latch")
    if seen["running"] or latch is None:
        return []
    said = f', "{_safe(latch["reason"])}"' if latch["reason"] else ""
    if not latch["flattened"]:
        return [f"halted since {moment_text(latch['at_ms'])}{said}: the next run enters nothing"]
    return [
        f"flattened {moment_text(latch['at_ms'])}{said}, after this record: what it shows as open"
        " may be closed, and the next run enters nothing"
    ]


def account_facts(book: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the account's facts with their names, the most important first."""
    day, currency = book["day"], _safe(book["currency"])
    facts = [
        ("state", _state_words(book)),
        ("mode", _safe(book["mode"] or "-")),
        ("equity", f"{money_text(book['equity'])} {currency}"),
        ("wallet balance", f"{money_text(book['wallet_balance'])} {currency}"),
        ("unrealized", f"{money_text(book['unrealized_pnl'], signed=True)} {currency}"),
        ("today", percent_text(day["result"], signed=True) if day else "not known"),
        ("loss today", loss_words(day)),
        ("loss budget left", percent_text(day["loss_budget_left"]) if day else "not known"),
        ("last cycle", moment_text(book["cycle_at_ms"])),
        ("account as of", moment_text(book["equity_at_ms"])),
    ]
    if book["disabled_strategies"]:
        facts.insert(1, ("disabled strategies", _strategies(book["disabled_strategies"])))
    return facts


def _strategies(names: Sequence[str]) -> str:
    return ", ".join(strategy_name(_safe(name)) for name in names)


def _state_words(book: Mapping[str, Any]) -> str:
    """Name the trading state and its cause."""
    code, reason = str(book["state"]), book["state_reason"]
    if code == "active":
        return code
    why = f": {_safe(state_cause(code, reason))}" if reason else ""
    return f"{_safe(describe_state(code, holding=bool(book['positions'])))}{why}"


def _state_in_full(book: Mapping[str, Any]) -> str:
    """Name the trading state, its cause, how long it lasts, and the operator's own words."""
    lasting = f"for {span(book['state_since_ms'], book['as_of_ms'])}"
    said = f', "{_safe(book["state_note"])}"' if book["state_note"] else ""
    return f"{_state_words(book)}, {lasting}{said}"


# --- the system ------------------------------------------------------------------


def system_blocks(system: Mapping[str, Any], width: int) -> list[list[str]]:
    """Return the supervision tree with its restarts, mailboxes, public site and loop lag."""
    blocks = [_tree(system, width), _mailboxes(system, width)]
    if site := system.get("site"):
        facts = [(name.replace("_", " "), _safe(value)) for name, value in site.items()]
        blocks.append(_facts("public site", [f for f in facts if f[1]], width))
    if lag := _lag(system):
        blocks.append(_facts("loop lag", lag, width))
    return blocks


def summary_lines(system: Mapping[str, Any], width: int, *, most: int | None = None) -> list[str]:
    """Return the system in a few lines: how many children run, restarts with the last errors."""
    workers = [node for _, node in nodes(system) if not node.get("children")]
    running = sum(node.get("state") == "running" for node in workers)
    restarted = [node for _, node in nodes(system) if node.get("restarts")]
    restarts = sum(int(node["restarts"]) for node in restarted)
    boxes = [box for node in workers for box in node.get("mailboxes", ())]
    site = system.get("site") or {}
    pieces = [f"system: {running} of {len(workers)} children running, {_counted(restarts)}"]
    if boxes:
        counts = (f"{sum(box[name] for box in boxes)} {name}" for name in ("dropped", "expired"))
        waiting = sum(box["depth"] for box in boxes)
        pieces.append(f"mailboxes: {waiting} waiting, {', '.join(counts)}")
    if site:
        pieces.append(f"site: {_safe(site.get('state'))}, {_counted(site.get('restarts'))}")
    pieces += [f"loop lag {name} {value}" for name, value in _lag(system)]
    lines = flow(pieces, width, indent="")
    lines += [cut("  " + line, width) for line in _errors(restarted)]
    return lines if most is None else limited(lines, most, "more lines; see kamou status")


def nodes(system: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the supervision tree, parents before children, each with its depth."""
    waiting = [(0, system.get("supervision") or {})]
    while waiting:
        depth, node = waiting.pop()
        if node:
            yield depth, node
        waiting += [(depth + 1, child) for child in reversed(node.get("children", ()))]


def _errors(restarted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each child that was restarted, with its last error."""
    return [
        f"{_safe(node.get('id'))}: {_counted(node['restarts'])}, last error"
        f" {_safe(node.get('last_error') or 'not known')}"
        for node in sorted(restarted, key=lambda node: -int(node["restarts"]))
    ]


def _counted(restarts: Any) -> str:
    return f"{_safe(restarts)} restart" + ("" if restarts == 1 else "s")


def _tree(system: Mapping[str, Any], width: int) -> list[str]:
    rows: list[tuple[str, ...]] = [("child", "state", "incarnation", "restarts")]
    restarted = []
    for depth, node in nodes(system):
        name = "  " * depth + cut(_safe(node.get("id")), CHILD_CELLS_MAX)
        facts = (node.get(key) for key in ("state", "incarnation", "restarts"))
        rows.append((name, *("" if fact is None else _safe(fact) for fact in facts)))
        if node.get("restarts"):
            restarted.append(node)
    if len(rows) == 1:
        return []
    errors = [wrap("  " + error, width, hang="    ") for error in _errors(restarted)]
    lines = ["system", *_table(rows, width, right=(2, 3))]
    return [*lines, "last errors", *chain(*errors)] if errors else lines


def _mailboxes(system: Mapping[str, Any], width: int) -> list[str]:
    names = ("name", "depth", "peak", "dropped", "expired")
    rows = [
        tuple(_safe(box[name]) for name in names)
        for _, node in nodes(system)
        for box in node.get("mailboxes", ())
    ]
    if not rows:
        return []
    return ["mailboxes", *_table([("mailbox", *names[1:]), *rows], width, right=(1, 2, 3, 4))]


def _lag(system: Mapping[str, Any]) -> list[tuple[str, str]]:
    gauges = system.get("gauges") or {}
    named = (("max", "loop_lag_max_seconds"), ("p99", "loop_lag_p99_seconds"))
    found = ((name, gauges.get(key)) for name, key in named)
    return [(name, f"{1000 * value:.1f} ms") for name, value in found if value is not None]


# --- lines -----------------------------------------------------------------------


def _facts(heading: str, facts: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Return names and values, a line for each, the values aligned."""
    room = max((cells(name) for name, _ in facts), default=0)
    lines = [heading]
    for name, value in facts:
        lines += _fact(name, value, room, width)
    return lines


def _fact(name: str, value: str, room: int, width: int) -> list[str]:
    left = f"  {name}" + " " * (room - cells(name) + 2)
    first, *others = wrap(value, max(8, width - cells(left)), hang="")
    return [cut(left + first, width), *(cut(" " * cells(left) + line, width) for line in others)]


def _table(rows: Sequence[Sequence[str]], width: int, *, right: Sequence[int]) -> list[str]:
    return [cut("  " + line, width) for line in columns(rows, right=right)]


def _apart(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Return the blocks with an empty line between them."""
    lines: list[str] = []
    for block in blocks:
        if block:
            lines += ["", *block] if lines else block
    return lines


def _fitted(blocks: Sequence[Sequence[str]], width: int, height: int) -> list[str]:
    """Return the blocks in at most ``height`` lines; empty lines between them go first."""
    lines = _apart(blocks)
    if len(lines) > height:
        lines = [line for block in blocks for line in block]
    return [cut(line, width) for line in limited(lines, height)]


def _safe(text: object) -> str:
    return escape_text(str(text))
