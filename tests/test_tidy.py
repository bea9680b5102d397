"""The rules that a machine can check in the tree. Every exception has its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUMMARY_CHARACTERS_MAX = 80
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".html", ".css", ".sql", ""}
# Generated directories: the environment, caches, and files of a run.
MADE = {"build", "dist", "htmlcov", "__pycache__", "kamou-data"}


@cache
def texts(suffixes: frozenset[str] = frozenset(TEXT_SUFFIXES)) -> dict[str, str]:
    """Return every written file of the tree: path from the root -> text."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(_walk(ROOT))
        if path.suffix in suffixes
    }


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        hidden = path.name.startswith(".") and path.name not in (".ci", ".gitignore")
        if hidden or path.name in MADE or path.suffix == ".egg-info":
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


@cache
def trees(under: str = "") -> dict[str, ast.Module]:
    """Return the syntax trees of the Python files whose path begins with ``under``."""
    found = texts(frozenset({".py"}))
    return {path: ast.parse(text) for path, text in found.items() if path.startswith(under)}


def imported(tree: ast.Module) -> set[str]:
    """Return the top-level names of the packages that a file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def calls(tree: ast.Module) -> set[str]:
    """Return the dotted names that a file calls, such as ``time.time``."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_is_called_utils_helpers_commons_or_misc() -> None:
    named = re.compile(r"(^|/)(utils?|helpers?|commons?|misc)(/|\.py$)")
    assert not [path for path in trees() if named.search(path)]


def test_every_module_of_the_product_has_a_docstring() -> None:
    mute = [
        path for path, tree in trees("kamou/").items() if tree.body and not ast.get_docstring(tree)
    ]
    assert not mute


def test_a_docstring_of_the_product_begins_with_a_sentence_of_at_most_80_characters() -> None:
    """Ruff's rules D205, D400 and D401 check that it ends there and is imperative."""
    long = [
        f"{path}:{getattr(node, 'lineno', 1)} {first}"
        for path, tree in trees("kamou/").items()
        for node in ast.walk(tree)
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node))
        if len(first := text.splitlines()[0]) > SUMMARY_CHARACTERS_MAX
    ]
    assert not long


def test_every_file_postpones_its_annotations() -> None:
    line = "from __future__ import annotations"
    eager = [path for path, tree in trees().items() if tree.body and line not in ast.unparse(tree)]
    # Nothing to postpone in a file that holds only its docstring and constants.
    assert not [path for path in eager if any(_annotated(trees()[path]))]


def _annotated(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


IMPURE = {
    "trio",
    "asyncio",
    "threading",
    "sqlite3",
    "sqlite_utils",
    "httpx",
    "socket",
    "subprocess",
    "os",
    "pathlib",
    "time",
    "random",
    "uuid",
    "secrets",
    "logging",
}


def test_the_core_imports_no_module_for_io_clocks_or_randomness() -> None:
    # The core may use datetime for calendar days of given times; FORBIDDEN_CALLS bans its now().
    used = {path: imported(tree) & IMPURE for path, tree in trees("kamou/core/").items()}
    assert not {path: names for path, names in used.items() if names}


ONE_IMPORTER = {
    # package: the only places of the product that may import it, and what for
    "ccxt": ("kamou/exchange/trio_ccxt/",),  # real venues
    "wsproto": ("kamou/exchange/trio_ccxt/web_socket.py",),  # their streams
    "sqlite_utils": ("kamou/store/",),  # schema and migrations
    "pyarrow": ("kamou/store/",),  # Parquet
    "hypercorn": ("kamou/http/",),  # the listeners
    # the bytes of HTTP/1.1: the server's, and those of a proxy's tunnel
    "h11": ("kamou/http/http11.py", "kamou/exchange/trio_ccxt/web_socket.py"),
    "starlette": ("kamou/web/", "kamou/operator/", "kamou/http/"),  # routes
    "jinja2": ("kamou/web/",),  # pages
    "markdown_it": ("kamou/web/",),  # the operator's own page
    "rich": ("kamou/commands/",),  # terminals
    "click": ("kamou/commands/", "kamou/cli.py"),  # the command line
    # the clients of operator, model and venue
    "httpx": (
        "kamou/commands/operator.py",
        "kamou/llm/",
        "kamou/exchange/trio_ccxt/http_client.py",
    ),
    "talib": (),  # tests compare indicators with it; the product never imports it
    "pandas": (),
}


@pytest.mark.parametrize("package", ONE_IMPORTER)
def test_a_dependency_is_imported_in_its_own_place_only(package: str) -> None:
    places = ONE_IMPORTER[package]
    users = {path for path, tree in trees("kamou/").items() if package in imported(tree)}
    assert not {path for path in users if not path.startswith(places or ("nowhere",))}
    assert not places or users, "a row for a dependency that no module imports"


FORBIDDEN_CALLS = {
    # call: (files that may, with the reason there)
    r"(uuid\.)?uuid\d": {},
    r"(datetime\.)?datetime\.(now|utcnow|today)|(datetime\.)?date\.today": {},
    r"time\.(time|time_ns)": {"kamou/clock.py": "the one place that asks the machine"},
    r"(secrets|os)\.(token_\w+|urandom)": {
        "kamou/operator/token.py": "a token must not be guessable",
        "kamou/runs/session.py": "the key of the salts that hide intents must not be guessable",
    },
    r"random\.\w+": {
        "kamou/runtime/determinism.py": "seeds the scheduler's own generator",
        "tests/conftest.py": "seeds each test from its name",
    },
    r"(np|numpy)\.random\.(seed|rand|randn|randint|random|normal|choice|shuffle)": {},
    r"(np|numpy)\.random\.default_rng\(\)": {},
}


@pytest.mark.parametrize("pattern", FORBIDDEN_CALLS)
def test_time_ids_and_random_numbers_come_from_the_listed_files_only(pattern: str) -> None:
    form = re.compile(pattern + r"$")
    used = {
        path
        for path, tree in trees().items()
        for name in calls(tree)
        if form.match(name) and not path.startswith("benchmarks/")  # a benchmark measures time
    }
    assert used <= set(FORBIDDEN_CALLS[pattern])


def test_the_product_uses_private_names_of_trio_in_one_file() -> None:
    private = re.compile(r"trio\._|trio\.lowlevel\._|_ALLOW_DETERMINISTIC_SCHEDULING")
    here = "tests/test_tidy.py"  # this file names them in order to forbid them
    used = [
        path
        for path, text in texts(frozenset({".py"})).items()
        if private.search(text) and path not in ("kamou/runtime/determinism.py", here)
    ]
    assert [path for path in used if path.startswith("kamou/")] == []


def test_only_the_governor_makes_an_approval() -> None:
    makers = [path for path, text in texts().items() if re.search(r"\b_MINT\b", text)]
    allowed = {"kamou/core/risk/verdict.py", "kamou/core/risk/governor.py", "tests/test_tidy.py"}
    assert {path for path in makers if not path.startswith("tests/")} <= allowed


def test_only_the_listed_modules_use_the_assumed_live_gate() -> None:
    users = {
        path
        for path, text in texts(frozenset({".py"})).items()
        if re.search(r"\bAssumedLiveGate\b", text) and path.startswith("kamou/")
    }
    # A backtest and a simulation have no real venue, and no shadow record that could earn a size.
    composers = {"kamou/runs/backtest.py", "kamou/simulator/shadow_records.py"}
    assert {path for path in users if not path.startswith("kamou/core/")} <= composers | {
        "kamou/runs/assumed_live.py"
    }


def named(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def test_only_the_listed_modules_catch_every_exception() -> None:
    allowed = {
        "kamou/supervisor.py": "it handles crashes of its children",
        "kamou/actors/scanner.py": "a strategy that raises abstains, or has no more blocks",
        "kamou/core/strategies/conformance.py": "it reports what a strategy raises",
        "kamou/cli.py": "a failure of a verb is printed, and a defect is raised again",
        "kamou/settings/strategy_files.py": "an annotation of a strategy is its author's code",
        "kamou/errors.py": "an error whose own text raises is named by its type",
        "kamou/http/server.py": "what goes wrong in one connection ends that connection",
        "kamou/exchange/trio_ccxt/client.py": "a message that ccxt cannot read ends its connection",
        "kamou/exchange/trio_ccxt/exchange.py": "the error of a call goes to whoever awaits it",
        "kamou/exchange/trio_ccxt/gathering.py": "the first error is raised outside of its group",
        "kamou/simulator/simulation.py": "what ends a simulated process is reported with its seed",
    }
    broad = {
        path
        for path, tree in trees("kamou/").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {"Exception", "BaseException"} & named(node.type))
        and not isinstance(node.body[-1], ast.Raise)  # a handler that raises again catches nothing
    }
    assert broad <= set(allowed)


def test_lines_for_a_terminal_are_printed_in_one_place() -> None:
    """That place escapes them. The watchdog uses the process's standard error itself."""
    writes = re.compile(r"click\.(echo|secho)|(Console|sys\.std(out|err)\.write)$")
    printers = {
        path for path, tree in trees("kamou/").items() for name in calls(tree) if writes.match(name)
    }
    assert printers == {"kamou/commands/printing.py"}


def test_no_file_calls_time_sleep() -> None:
    used = [path for path, tree in trees().items() if "time.sleep" in calls(tree)]
    assert not used


MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.])/(?:work|root|home|farm|Users)/[A-Za-z]")


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    assert not [path for path, text in texts().items() if MACHINE_PATH.search(text)]


def test_no_file_names_a_package_registry() -> None:
    form = re.compile(
        r"https?://(?!127\.0\.0\.1|localhost)[\w.-]*(pypi|pythonhosted|npmjs|debian)", re.I
    )
    assert not [path for path, text in texts().items() if form.search(text)]


def test_no_text_of_the_tree_has_a_todo() -> None:
    form = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
    assert not [path for path, text in texts().items() if form.search(text)]


def test_every_line_of_the_constraints_is_a_package_with_an_exact_version() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.+-]*", line)]


def test_every_declared_dependency_has_its_version_and_each_runtime_one_its_record() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        _canonical(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    names = {_canonical(_bare(name)) for name in [*project["dependencies"], *extras]}
    assert names <= pinned
    records = "\n".join(path.read_text() for path in (ROOT / "docs/decisions").glob("*.md")).lower()
    runtime = {_bare(name).lower() for name in project["dependencies"]}
    assert not [name for name in runtime if f"`{name}`" not in records]


def _bare(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement)[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def can_fail(function: ast.AST, checks: frozenset[str]) -> bool:
    """Return True if a test asserts, expects an error, or calls a function that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in checks or name in ("raises", "RaisesGroup") or name.startswith("assert_"):
                return True
    return False


def test_every_test_can_fail() -> None:
    every = [node for tree in trees("tests/").values() for node in functions(tree)]
    checks: frozenset[str] = frozenset()
    for _ in range(3):  # a check may call another check, to this depth
        checks = frozenset(node.name for node in every if can_fail(node, checks))
    toothless = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees("tests/").items()
        for node in functions(tree)
        if node.name.startswith("test_") and node.name not in checks
    ]
    assert not toothless


def test_a_tests_name_has_at_least_three_words_after_test() -> None:
    short = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees("tests/").items()
        for node in functions(tree)
        if node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert not short


def test_no_two_modules_of_the_tests_have_one_name() -> None:
    """Each directory of tests is on the path: one of two equal names hides the other."""
    seen: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name not in ("__init__.py", "conftest.py"):
            seen.setdefault(path.name, []).append(path.relative_to(ROOT).as_posix())
    assert not {name: paths for name, paths in seen.items() if len(paths) > 1}


def test_no_test_is_marked_skip_or_xfail() -> None:
    marks = {
        path
        for path, tree in trees("tests/").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("pytest.mark.skip", "pytest.mark.xfail")
    }
    assert not marks
