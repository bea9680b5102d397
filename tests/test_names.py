"""Names of the product: each has one meaning, and every declaration has a user.

Every exception stands in a table below with its reason; an exception that nothing needs fails too.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from kamou.settings.table import settings_table
from tests.test_tidy import ROOT, trees

SAME_BY_CONVENTION = {
    # name: the modules that may each define it, and why
    "strategy": (r"core/strategies/\w+", "the discovery takes this name from each file"),
    "veto": (r"core/vetoes/\w+", "the discovery takes this name from each file"),
    "render": (r"web/pages/\w+", "the routes table takes a page's HTML from it"),
    "render_json": (r"web/pages/\w+", "the routes table takes a page's document from it"),
    "run": (r"runs/(service|backtest|flatten)", "what the command of the module's name starts"),
    "main": (r"cli|web/process", "the entry point of a process"),
    "FEATURES": (r"core/strategies/\w+", "each strategy names the features of its scores"),
    "DESCRIPTION": (r"web/pages/\w+", "each page describes itself to search engines"),
    "PAGE_SIZE": (r"web/pages/\w+", "each list has its own"),
    "PARAMETERS": (r"web/pages/\w+", "each page reads its own from the query"),
}

USED_LATER = {
    # name: why nothing in kamou/ names it yet
    "BadCredentialsError": "the adapter of a real venue raises it",
    "beta": "an indicator for the strategies to come",
    "directional": "an indicator for the strategies to come",
    "efficiency_ratio": "an indicator for the strategies to come",
    "ema": "an indicator for the strategies to come",
    "Ema": "an indicator for the strategies to come",
    "rsi": "an indicator for the strategies to come",
    "vwap": "an indicator for the strategies to come",
    "zscore": "an indicator for the strategies to come",
    "basis": "the gate of a run publishes whether a grant is of a live or a canary strategy",
    "decisions": "`kamou verify` computes decisions again, as the replay in the tests does",
    "account_age_ms": "`kamou verify` computes decisions again, as the replay in the tests does",
    "ages_ms": "`kamou verify` computes decisions again, as the replay in the tests does",
    "window_quotes": "the venue's WebSocket publishes them",
    "market_trades": "the venue's WebSocket publishes them",
    "measure_ofi": "the OFI of recorded quotes, as soon as a dataset has them",
    "withdraw_check": "a port capability that a real venue states",
    "keep_subscribed": "the adapter of a real venue keeps its streams by it",
    "open_channel": "the same adapter reads its streams from the tap",
    "missed": "the same adapter shows its health",
    "book_gaps": "the same adapter shows its health",
    "open_kucoin_futures": "the adapter of a real venue stands on it",
    "may_have_arrived": "the same adapter tells an unknown outcome by it",
    "watch_ticker": "the same adapter calls it",
    "markets": "the same adapter reads the contracts",
    "retry_after_ms": "the adapter of a real venue states it",
}

USED_FROM_OUTSIDE = {
    # name: who calls or reads it
    "ACTIONS": "docs/codes.md is made from it",
    "REJECTIONS": "docs/codes.md is made from it",
    "decisions": "tests/simulation/test_decisions_replayed.py computes them again",
    "nullable": "tests/store/test_table_rows.py compares the columns with the schema",
    "before_task_step": "Trio calls it on its instruments",
    "deadline_to_sleep_time": "Trio calls it on its clock",
    "start_clock": "Trio calls it on its clock",
    "list_commands": "click calls it",
    "readinto": "a buffered reader calls it on its stream",
    "spawn_app": "hypercorn calls it",
    "bound_port": "tests and benchmarks ask a server for its port",
    "materialise": "benchmarks/make_data.py writes a dataset with it",
    "delay": "ccxt calls it",
    "fetch": "ccxt calls it",
    "init_throttler": "ccxt calls it",
    "throttle": "ccxt calls it",
    "load_order_book": "ccxt calls it",
    "watch_multiple": "ccxt calls it",
    "on_message_callback": "ccxt calls what its client has there",
    "dial_failed": "ccxt's exchange reads it of its client",
    "last_retry_after": "ccxt's exchange reads it of its client",
    "doc": "the table of faults in docs/reliability.md is made from it",
    "handled": "a field of the status document, which is written whole",
    "repaired": "a field of stored events, which are written whole",
    "net_pnl": "a field of the status document, which is written whole",
    "planned_at_ms": "a field of stored events, which are written whole",
    "prompt_hash": "a field of stored events, which are written whole",
    "model_echoed": "a field of stored events, which are written whole",
    "lowest": "a field of stored events, which are written whole",
    "average_price": "the contract of the port has it; tests check both adapters",
    "entry_before": "the venue's audit log has it; tests compute the account from it",
    "before_ms": "a gap in a stored dataset, written whole into its description",
}


def module_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def targets(node: ast.stmt) -> Iterator[str]:
    """Yield the names that one statement of a module or a class defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def definitions(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    """Yield every public name that a module or a class defines, with its statement."""
    for node in tree.body:
        if not _is_type_variable(node) and not _is_alias(node):
            yield from ((name, node) for name in targets(node) if not name.startswith("_"))


def _is_type_variable(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).endswith(("TypeVar", "ParamSpec"))
    )


def _is_alias(node: ast.stmt) -> bool:
    """Return True for a statement such as ``D = Decimal``, a short name for another."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)


def is_command(node: ast.stmt) -> bool:
    """Return True for a function that click registers: it is named for its command."""
    decorators = getattr(node, "decorator_list", [])
    return any(re.search(r"\.(command|group)\(", ast.unparse(each)) for each in decorators)


def test_a_public_name_of_the_product_is_defined_in_one_module() -> None:
    found: dict[str, list[str]] = {}
    for path, tree in trees("kamou/").items():
        for name, node in definitions(tree):
            module = path.removeprefix("kamou/").removesuffix(".py")
            allowed, _ = SAME_BY_CONVENTION.get(name, ("", ""))
            if not is_command(node) and not re.fullmatch(allowed, module):
                found.setdefault(name, []).append(f"{path}:{node.lineno}")
    assert not {name: places for name, places in found.items() if len(set(places)) > 1}


@cache
def imported_names() -> frozenset[tuple[str, str]]:
    """Return (module, name) of each import of one module of the product from another."""
    known = {module_of(path) for path in trees("kamou/")}
    found: set[tuple[str, str]] = set()
    for tree in trees("kamou/").values():
        aliases: dict[str, str] = {}  # local name -> module
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    if inner in known:
                        aliases[alias.asname or alias.name] = inner
                    else:
                        found.add((node.module, alias.name))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in aliases:
                found.add((aliases[ast.unparse(node.value)], node.attr))
    return frozenset(found)


@cache
def template_words() -> frozenset[str]:
    pages = sorted((ROOT / "kamou/web/templates").iterdir())
    return frozenset(word for page in pages for word in re.findall(r"\w+", page.read_text()))


def named_in(tree: ast.AST, name: str, but: ast.AST) -> bool:
    """Return True if a module uses a name outside of its definition."""
    inside = {id(node) for node in ast.walk(but)}
    return any(
        isinstance(node, ast.Name) and node.id == name and id(node) not in inside
        for node in ast.walk(tree)
    )


def is_discovered(name: str, path: str) -> bool:
    pattern, _ = SAME_BY_CONVENTION.get(name, ("", ""))
    return bool(re.fullmatch(pattern, path.removeprefix("kamou/").removesuffix(".py")))


def unused_names() -> set[str]:
    return {
        name
        for path, tree in trees("kamou/").items()
        for name, node in definitions(tree)
        if (module_of(path), name) not in imported_names()
        and not named_in(tree, name, node)
        and name not in template_words()
        and not is_command(node)
        and not is_discovered(name, path)
    }


@cache
def member_uses() -> Counter[str]:
    """Count how often the product reads an attribute, or names it in a short text.

    Short texts name fields for ``getattr``, the columns of rows and the keys of documents.
    Docstrings do not count.
    A keyword of a call does not count, because it gives a field its value.
    """
    found: Counter[str] = Counter(template_words())
    for tree in trees("kamou/").values():
        docstrings = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if id(node) in docstrings:
                continue
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found[node.attr] += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r"\w+", node.value) if len(node.value) < 60 else ())
    return found


def unused_members() -> set[str]:
    """Return the methods, fields and enum members that the product never names."""
    defined = {
        name
        for tree in trees("kamou/").values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for name, _ in definitions(node)
    }
    assigned = {
        node.attr
        for tree in trees("kamou/").values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
        and not node.attr.startswith("_")
    }
    return {name for name in defined | assigned if not member_uses()[name]}


def test_every_public_name_of_the_product_has_a_user_or_a_stated_exception() -> None:
    assert unused_names() - set(USED_LATER) - set(USED_FROM_OUTSIDE) == set()


def test_every_member_of_a_class_has_a_user_or_a_stated_exception() -> None:
    assert unused_members() - set(USED_LATER) - set(USED_FROM_OUTSIDE) == set()


def test_every_exception_for_a_name_without_a_user_is_needed() -> None:
    assert (set(USED_LATER) | set(USED_FROM_OUTSIDE)) - unused_names() - unused_members() == set()


def members_of_enums() -> Iterator[tuple[str, str]]:
    for tree in trees("kamou/").values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(b) for b in node.bases):
                yield from (
                    (node.name, name)
                    for name, inner in definitions(node)
                    if isinstance(inner, ast.Assign)
                )


def test_every_member_of_an_enum_is_named_by_the_product() -> None:
    """``_S.OPEN`` counts in a module with ``_S = State``; ``State(text)`` does not."""
    used: set[tuple[str, str]] = set()
    for tree in trees("kamou/").values():
        short = {
            name: node.value.id
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)
            for name in targets(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value).rpartition(".")[2]
                used.add((short.get(owner, owner), node.attr))
    assert set(members_of_enums()) - used == set()


def test_every_settings_key_is_read_outside_of_the_settings() -> None:
    readers: dict[str, set[str]] = {}
    for path, tree in trees("kamou/").items():
        if not path.startswith("kamou/settings/"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    readers.setdefault(node.attr, set()).add(path)
    unread = []
    for key in settings_table():
        group, _, field = key.rpartition(".")
        where = readers.get(field, set())
        if group.startswith("strategies."):  # only the strategy's own file reads its parameters
            where = where & {f"kamou/core/{group.replace('.', '/')}.py"}
        if not where:
            unread.append(key)
    assert not unread


def message_classes() -> set[str]:
    """Return the subclasses of ``Message`` in ``kamou/messages/``, without bases."""
    return {
        node.name
        for path, tree in trees("kamou/messages/").items()
        if path != "kamou/messages/envelope.py"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases} & {"Message", "Expiring"}
    }


def received_classes() -> set[str]:
    """Return the types that actors match by ``case Halt():`` or ``isinstance``."""
    found: set[str] = set()
    for tree in trees("kamou/actors/").values():
        for node in ast.walk(tree):
            if isinstance(node, ast.MatchClass):
                found.add(ast.unparse(node.cls))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                found |= {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
    return found


def test_every_message_has_an_actor_that_receives_it() -> None:
    assert message_classes(), "the walk finds no message"
    assert message_classes() - received_classes() == set()
