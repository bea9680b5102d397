"""Search for all changes of one operator at one place of a module.

A change replaces one expression or condition of a function by another. Assertions, raised errors,
texts and declarations outside functions are not changed.
"""

from __future__ import annotations

import ast
from functools import partial
from hashlib import sha256
from itertools import islice
from types import CodeType

import attrs

SIGNS: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+"}
COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),  # the boundary, and the contrary
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
NAMES = {
    "min": ("min/max", "max"),
    "max": ("min/max", "min"),
    "ROUND_CEILING": ("rounding", "ROUND_FLOOR"),
    "ROUND_FLOOR": ("rounding", "ROUND_CEILING"),
    "ceil": ("rounding", "int"),
}
ROUNDING_METHODS = frozenset({"to_integral_value", "quantize"})
UNTOUCHED = (ast.Assert, ast.Raise, ast.JoinedStr)


@attrs.frozen(kw_only=True, order=True)
class Change:
    """One change: the text from ``start`` to ``end`` of ``file`` becomes ``new``."""

    file: str
    start: int  # offsets into the text, in characters
    end: int
    new: str
    operator: str  # sign | comparison | min/max | dropped term | removed guard | rounding
    function: str  # qualified name of the innermost function around it
    line: int
    old: str

    @property
    def name(self) -> str:
        """Place, operator and both texts of the change as one line."""
        old, new = " ".join(self.old.split()), " ".join(self.new.split())
        return f"{self.file}:{self.line} {self.function}: {self.operator}: {old} -> {new}"

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """File, function and both texts with single blanks, without the line."""
        return self.file, self.function, " ".join(self.old.split()), " ".join(self.new.split())

    def applied(self, text: str) -> str:
        """Return ``text``, which is the file's text, with the change in it."""
        assert text[self.start : self.end] == self.old
        return text[: self.start] + self.new + text[self.end :]


def changes_of(file: str, text: str) -> list[Change]:
    """Return every change of one module's text, sorted by its place."""
    finder = _Finder(file, text)
    finder.visit(ast.parse(text))
    return sorted(set(finder.found))


def codes_of(module: CodeType) -> dict[str, CodeType]:
    """Return the code of every function in a module's code, by its qualified name."""
    found: dict[str, CodeType] = {}
    waiting = [module]
    while waiting:
        code = waiting.pop()
        found[code.co_qualname] = code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
    return found


def fits(change: Change, text: str) -> bool:
    """Return True if live functions can take the changed code: same closure names."""
    before, after = (
        codes_of(compile(each, change.file, "exec", dont_inherit=True))
        for each in (text, change.applied(text))
    )
    return before.keys() == after.keys() and all(
        code.co_freevars == before[name].co_freevars for name, code in after.items()
    )


def draw(texts: dict[str, str], seed: int, count: int) -> list[Change]:
    """Draw ``count`` different changes of all that ``texts`` (file -> text) allow.

    Every change is as likely as any other; the same seed and texts give the same changes.
    """
    everything = [change for file in sorted(texts) for change in changes_of(file, texts[file])]

    def lot(change: Change) -> bytes:
        return sha256(f"{seed} {change.start} {change.end} {change.name}".encode()).digest()

    drawn = sorted(everything, key=lot)
    fitting = (change for change in drawn if fits(change, texts[change.file]))
    return list(islice(fitting, count))


class _Finder(ast.NodeVisitor):
    """Finder of the changes of one module; ``found`` may hold a change twice."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.found: list[Change] = []
        self._scopes: list[str] = []
        self._functions: list[bool] = []  # of the scopes around: whether it is a function
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    # --- places ---------------------------------------------------------------

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._lines[node.lineno - 1] + self._characters(node.lineno, node.col_offset),
            self._lines[node.end_lineno - 1]
            + self._characters(node.end_lineno, node.end_col_offset),
        )

    def _characters(self, line: int, byte_offset: int) -> int:
        """Return the column in characters; Python counts columns in bytes of UTF-8."""
        whole = self.text[self._lines[line - 1] : self._lines[line]]
        return len(whole.encode()[:byte_offset].decode())

    def _said(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.text[start:end]

    def _note(self, node: ast.AST, operator: str, new: str) -> None:
        start, end = self._span(node)
        assert isinstance(node, ast.expr | ast.stmt)
        self.found.append(
            Change(
                file=self.file,
                start=start,
                end=end,
                old=self.text[start:end],
                new=new,
                operator=operator,
                function=".".join(self._scopes),
                line=node.lineno,
            )
        )

    # --- where changes are made -----------------------------------------------

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, UNTOUCHED):
            return
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            self._enter(node)
        else:
            if any(self._functions):
                self._change(node)
            if isinstance(node, ast.AnnAssign):
                for part in (node.target, node.value):
                    if part is not None:
                        self.visit(part)
            else:
                self.generic_visit(node)

    def _enter(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Visit a body only: decorators, annotations and defaults are declarations."""
        local = bool(self._functions) and self._functions[-1]
        self._scopes += ["<locals>", node.name] if local else [node.name]
        self._functions.append(not isinstance(node, ast.ClassDef))
        for statement in node.body:
            self.visit(statement)
        self._functions.pop()
        del self._scopes[-2 if local else -1 :]

    # --- operators -------------------------------------------------------------

    def _change(self, node: ast.AST) -> None:
        match node:
            case ast.BinOp():
                self._arithmetic(node)
            case ast.AugAssign():
                self._accumulation(node)
            case ast.UnaryOp(op=ast.USub()):
                self._note(node, "sign", f"({self._said(node.operand)})")
            case ast.UnaryOp(op=ast.Not()):
                self._note(node, "comparison", f"({self._said(node.operand)})")
            case ast.Compare():
                self._comparison(node)
            case ast.BoolOp():
                self._condition(node)
            case ast.Name(id=name) if name in NAMES:
                self._note(node, *NAMES[name])
            case ast.Call():
                self._call(node)
            case ast.If() | ast.IfExp():
                self._guard(node)
            case ast.comprehension():
                for test in node.ifs:
                    self._note(test, "removed guard", "True")
            case ast.Tuple() if len(node.elts) > 1:
                for part in node.elts:
                    if isinstance(part, ast.Starred):
                        self._note(part, "dropped term", "*()")

    def _arithmetic(self, node: ast.BinOp) -> None:
        left, right = f"({self._said(node.left)})", f"({self._said(node.right)})"
        if isinstance(node.op, ast.Add | ast.Sub):
            if _is_text(node.left) or _is_text(node.right):
                return
            sign = SIGNS[type(node.op)]
            self._note(node, "sign", f"({left} {sign} {right})")
            self._note(node, "dropped term", left)
            self._note(node, "dropped term", right if sign == "-" else f"(-{right})")
        elif isinstance(node.op, ast.Mult):
            self._note(node, "dropped term", left)
            self._note(node, "dropped term", right)
        elif isinstance(node.op, ast.Div | ast.Mod):
            self._note(node, "dropped term", left)
        elif isinstance(node.op, ast.FloorDiv):
            self._note(node, "rounding", f"({left} / {right})")
            self._note(node, "dropped term", left)

    def _accumulation(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Add | ast.Sub):
            target, value = self._said(node.target), self._said(node.value)
            if not isinstance(node.value, ast.List | ast.ListComp | ast.Tuple):
                self._note(node, "sign", f"{target} {SIGNS[type(node.op)]}= {value}")
            self._note(node, "dropped term", "pass")

    def _comparison(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for place, operator in enumerate(node.ops):
            others = COMPARISONS[type(operator)]
            if isinstance(node.left, ast.Attribute) and node.left.attr == "sign":
                others = others[1:]  # a sign is 1 or -1: at 0 there is no boundary
            for other in others:
                said = [f"({self._said(operands[0])})"]
                for n, (op, operand) in enumerate(zip(node.ops, node.comparators, strict=True)):
                    said += [other if n == place else _symbol(op), f"({self._said(operand)})"]
                self._note(node, "comparison", f"({' '.join(said)})")

    def _condition(self, node: ast.BoolOp) -> None:
        word = " and " if isinstance(node.op, ast.And) else " or "
        for dropped in node.values:
            kept = [f"({self._said(part)})" for part in node.values if part is not dropped]
            self._note(node, "dropped term", f"({word.join(kept)})")

    def _call(self, node: ast.Call) -> None:
        said = self._said
        match node.func:
            case ast.Name(id="abs"):
                self._note(node, "sign", f"({said(node.args[0])})")
            case ast.Name(id="min" | "max" as name) if len(node.args) > 1 and not node.keywords:
                for dropped in node.args:
                    kept = [said(part) for part in node.args if part is not dropped]
                    new = f"({kept[0]})" if len(kept) == 1 else f"{name}({', '.join(kept)})"
                    self._note(node, "dropped term", new)
            case ast.Attribute(attr=attr, value=value) if attr in ROUNDING_METHODS:
                self._note(node, "rounding", f"({said(value)})")

    def _guard(self, node: ast.If | ast.IfExp) -> None:
        note = partial(self._note, node.test, "removed guard")
        note("False")
        if isinstance(node, ast.IfExp) or node.orelse:
            note("True")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _symbol(operator: ast.cmpop) -> str:
    """Return the operator as it is written."""
    text = ast.unparse(ast.Compare(ast.Name("a"), [operator], [ast.Name("b")]))
    return text.removeprefix("a ").removesuffix(" b")
