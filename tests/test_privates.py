"""The embedded venue's packages: one writer of its state, no private name of another object."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import attrs

from kamou.venue.state import VenueState, WorkingOrder
from tests.test_tidy import trees

ROOMS = ("kamou/exchange/", "kamou/simulator/", "kamou/venue/")
WRITERS = {
    "kamou/venue/account.py": "the one writer",
    "kamou/venue/state.py": "the state drops what is stored",
    "kamou/venue/store.py": "makes a state from the rows of its file",
}
STATE = {each.name for each in attrs.fields(VenueState)}
ORDER = {each.name for each in attrs.fields(WorkingOrder)}
CHANGING = {"append", "extend", "insert", "pop", "popitem", "remove", "clear", "update"}
CHANGING |= {"setdefault", "discard", "add"}


def fields_in(room: str) -> set[str]:
    """Return the fields that only the writer changes; the orders never leave the venue."""
    return STATE | ORDER if room == "kamou/venue/" else STATE


def is_own(node: ast.expr) -> bool:
    """Return True for ``self``, ``cls`` and ``super()``."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def foreign_privates(tree: ast.Module) -> Iterator[str]:
    """Yield the private names of other objects; a module may name those of its own classes."""
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not is_own(node.value):
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            own_class = isinstance(node.value, ast.Name) and node.value.id in classes
            if private and not own_class:
                yield f"{node.lineno}: {ast.unparse(node)}"


def writes(tree: ast.Module, fields: set[str]) -> Iterator[str]:
    """Yield each change that a module makes to a field of these names on another object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changed = [node.func.value] if node.func.attr in CHANGING else []
        elif isinstance(node, ast.Assign | ast.Delete):
            changed = list(node.targets)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            changed = [node.target]
        else:
            continue
        for target in changed:
            of = target.value if isinstance(target, ast.Subscript) else target
            if isinstance(of, ast.Attribute) and of.attr in fields and not is_own(of.value):
                yield f"{node.lineno}: {ast.unparse(target)}"


def test_no_module_of_the_venues_packages_names_a_private_attribute_of_another_object() -> None:
    found = {
        path: named
        for room in ROOMS
        for path, tree in trees(room).items()
        if (named := list(foreign_privates(tree)))
    }
    assert not found


def test_only_the_account_writes_the_state_of_the_venue() -> None:
    found = {
        path: changes
        for room in ROOMS
        for path, tree in trees(room).items()
        if path not in WRITERS and (changes := list(writes(tree, fields_in(room))))
    }
    assert not found
    account = trees("kamou/venue/")["kamou/venue/account.py"]
    assert list(writes(account, STATE))
    assert list(writes(account, ORDER))


def test_a_private_name_and_a_write_are_found() -> None:
    tree = ast.parse("engine._state.wallet_balance += 1\nself._state.fills.append(fill)")
    assert list(foreign_privates(tree)) == ["1: engine._state"]
    assert list(writes(tree, STATE)) == ["1: engine._state.wallet_balance", "2: self._state.fills"]
