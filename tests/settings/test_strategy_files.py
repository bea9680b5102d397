"""The operator's own strategies in ``strategies.path``: loading, hashes and errors."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import attrs
import pytest

from kamou.commands.strategy_template import STRATEGY, fill_template
from kamou.core import strategies
from kamou.errors import ConfigurationError
from kamou.settings.config import Resolved, canonical_json, digest, flatten_settings, load_settings
from kamou.settings.strategies import list_builtin_strategies
from kamou.settings.strategy_files import find_name_problem, load_file, load_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the strategy `breakout`."""
    made = tmp_path / "own"
    made.mkdir(mode=0o700)
    write(made, "breakout", fill_template(STRATEGY, "breakout"))
    return made


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    path.chmod(0o600)
    return path


def load(folder: Path, *, run_files: bool = True, **environ: str) -> Resolved:
    variables = {f"KAMOU__STRATEGIES__{name}": value for name, value in environ.items()}
    where = {"KAMOU__STRATEGIES__PATH": str(folder)}
    return load_settings(None, where | variables, run_files=run_files)


def test_a_file_of_the_folder_is_a_strategy_with_settings_of_its_own(folder: Path) -> None:
    settings = load(folder, ENABLED="breakout", BREAKOUT__WINDOW="24").settings
    assert flatten_settings(settings)["strategies.breakout.window"] == 24
    chosen = settings.strategies
    others = {name: file.factory for name, file in chosen.files.items()}
    made = strategies.make_strategies(["breakout"], chosen.parameters, others)["breakout"]
    assert made.lookback_bars(1) == 25
    with pytest.raises(ConfigurationError, match=r"breakout\.window must be between 2 and 5000"):
        load(folder, BREAKOUT__WINDOW="1")
    with pytest.raises(ConfigurationError, match=r"strategies\.breakout\.windows; did you mean"):
        load(folder, BREAKOUT__WINDOWS="3")


def test_a_toml_file_sets_a_parameter_of_a_strategy_in_the_folder(
    folder: Path, tmp_path: Path
) -> None:
    toml = tmp_path / "kamou.toml"
    toml.write_text(f'[strategies]\npath = "{folder}"\n[strategies.breakout]\nstop_atr = 3.5\n')
    found = load_settings(toml, {}, run_files=True)
    assert flatten_settings(found.settings)["strategies.breakout.stop_atr"] == 3.5
    assert found.origins["strategies.breakout.stop_atr"] == f"{toml}:4"
    assert not load_settings(toml, {}).settings.strategies.files


def test_the_digest_has_the_hash_of_each_enabled_file_and_not_the_folder(
    folder: Path, tmp_path: Path
) -> None:
    body = (folder / "breakout.py").read_bytes()
    settings = load(folder, ENABLED="breakout").settings
    sha256 = hashlib.sha256(body).hexdigest()
    assert f'"strategies.files":{{"breakout":"{sha256}"}}' in canonical_json(settings)
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    write(copy, "breakout", body.decode())
    assert digest(load(copy, ENABLED="breakout").settings) == digest(settings)
    write(folder, "breakout", body.decode() + "# another version\n")
    assert digest(load(folder, ENABLED="breakout").settings) != digest(settings)


def test_a_file_that_is_not_enabled_has_no_hash_in_the_digest(folder: Path) -> None:
    before = load(folder).settings
    assert "strategies.files" not in canonical_json(before)
    write(folder, "breakout", fill_template(STRATEGY, "breakout") + "# another version\n")
    assert digest(load(folder).settings) == digest(before)


def test_without_run_files_no_file_runs_and_only_settings_of_the_folder_are_left_out(
    folder: Path,
) -> None:
    write(folder, "explosive", "raise SystemExit('this file ran')\n")
    settings = load(folder, run_files=False, ENABLED="breakout", BREAKOUT__WINDOW="24").settings
    assert settings.strategies.enabled == ("breakout",)
    assert settings.strategies.files == {}
    assert "strategies.breakout.window" not in flatten_settings(settings)
    for key in ("ENABLD", "MEAN_REVERSION__WINDW"):
        with pytest.raises(ConfigurationError, match="unknown setting"):
            load(folder, run_files=False, **{key: "1"})
    with pytest.raises(ConfigurationError, match=r"unknown setting strategies\.breakout\.window"):
        load_settings(None, {"KAMOU__STRATEGIES__BREAKOUT__WINDOW": "24"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mean_reversion", "is the name of a strategy of Kamou"),
        ("enabled", "is a reserved name"),
        ("path", "is a reserved name"),
        ("all", "is a reserved name"),
        ("Breakout", "is no name of a strategy"),
        ("two__parts", "is no name of a strategy"),
        ("2nd", "is no name of a strategy"),
        ("class", "is no name of a strategy"),
        ("a" * 61, "is no name of a strategy"),
        ("a-b", "is no name of a strategy"),
    ],
)
def test_a_name_that_is_taken_reserved_or_malformed_is_an_error(
    folder: Path, name: str, words: str
) -> None:
    assert words in find_name_problem(name, list_builtin_strategies())
    path = write(folder, name, fill_template(STRATEGY, name))
    with pytest.raises(ConfigurationError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{path}: {name!r} {words}")


def test_a_strategy_whose_name_differs_from_that_of_its_file_is_an_error(folder: Path) -> None:
    from kamou.core.strategies.evaluation import check_strategies

    path = write(folder, "other", fill_template(STRATEGY, "breakout"))
    file = load_file(path)
    with pytest.raises(ConfigurationError, match="expected 'other', the name of its file"):
        check_strategies({"other": file.factory()}, 60_000)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1\ny = (\n", 2, "SyntaxError"),
        ("x = 1\n\n1 / 0\n", 3, "ZeroDivisionError"),
        ("import nowhere_to_be_found\n", 1, "ModuleNotFoundError"),
        ("x = 1\nraise SystemExit(0)\n", 2, "SystemExit(0)"),
        ("def f():\n    return undefined\n\n\nf()\n", 2, "NameError"),
    ],
)
def test_a_file_that_does_not_import_is_one_error_with_file_and_line(
    folder: Path, text: str, line: int, words: str
) -> None:
    path = write(folder, "broken", text)
    with pytest.raises(ConfigurationError) as caught:
        load(folder)
    (message,) = caught.value.args
    assert message.startswith(f"{path}:{line}: cannot be imported: {words}")


PARAMETERS = """import attrs

from kamou.core.strategies.base import Parameters, parameter


HEAD
    window: TYPE = VALUE


def strategy(parameters=None):
    raise LookupError


strategy.parameter_class = Own
"""
DECORATED = "@attrs.frozen(kw_only=True)\nclass Own(Parameters):"
DECLARED = 'parameter(3, "window")'


@pytest.mark.parametrize(
    ("head", "kind", "value", "words"),
    [
        ("@attrs.frozen\nclass Own:", "int", DECLARED, "is no class that inherits from Parameters"),
        ("class Own(Parameters):", "int", DECLARED, "Own is no attrs class; write @attrs.frozen"),
        (DECORATED, "int", "3", "Own.window is not declared; write window: int = parameter("),
        (
            DECORATED,
            "dict",
            DECLARED,
            "Own.window has the type dict; a setting is one of bool, int",
        ),
        (DECORATED, "int | None", DECLARED, "Own.window has the type int | None; a setting is one"),
        (DECORATED, "'Nowhere'", DECLARED, "the types of Own cannot be read: NameError("),
    ],
)
def test_parameters_that_cannot_be_settings_are_an_error_with_the_file_and_the_reason(
    folder: Path, head: str, kind: str, value: str, words: str
) -> None:
    text = PARAMETERS.replace("HEAD", head).replace("TYPE", kind).replace("VALUE", value)
    path = write(folder, "own", text)
    with pytest.raises(ConfigurationError) as caught:
        load(folder)
    (message,) = caught.value.args
    assert message.startswith(f"{path}: ")
    assert words in message
    write(
        folder,
        "own",
        PARAMETERS.replace("HEAD", DECORATED).replace("TYPE", "int").replace("VALUE", DECLARED),
    )
    assert flatten_settings(load(folder).settings)["strategies.own.window"] == 3


def test_a_file_does_not_inherit_the_postponed_annotations_of_its_loader(folder: Path) -> None:
    path = write(folder, "plain", "def strategy(window: 1 + 1): ...\n")
    assert load_file(path).factory.__annotations__ == {"window": 2}


def test_a_setting_of_a_strategy_that_the_folder_lacks_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=r"unknown setting strategies\.breakout\.window"):
        load(empty, BREAKOUT__WINDOW="24")


def test_every_broken_file_is_reported_at_once(folder: Path) -> None:
    write(folder, "one", "1 / 0\n")
    write(folder, "two", "x = 1\n")
    write(folder, "_not_a_strategy", "1 / 0\n")
    with pytest.raises(ConfigurationError) as caught:
        load(folder)
    first, second = caught.value.args
    assert "one.py:1" in first
    assert "two.py: has no callable `strategy`; end it with a line" in second


@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_a_folder_or_file_that_others_may_write_is_an_error(folder: Path, mode: int) -> None:
    for path in (folder / "breakout.py", folder):
        path.chmod(path.stat().st_mode | mode)
        with pytest.raises(ConfigurationError, match=f"chmod go-w {path}$"):
            load(folder)
        path.chmod(path.stat().st_mode & ~mode)
    assert "breakout" in load(folder).settings.strategies.files


def test_a_file_of_another_user_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = (folder / "breakout.py").stat().st_uid
    if owner == 0:
        os.chown(folder / "breakout.py", 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigurationError, match="another user owns"):
        load(folder)


def test_a_folder_that_does_not_exist_is_an_error_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"strategies\.path: .*nowhere is no folder"):
        load_folder(str(tmp_path / "nowhere"), ())


def test_an_unchanged_file_runs_once_and_a_changed_one_runs_again(folder: Path) -> None:
    one, again = load_file(folder / "breakout.py"), load_file(folder / "breakout.py")
    assert one == again
    assert one.factory is again.factory
    write(folder, "breakout", fill_template(STRATEGY, "breakout") + "# another version\n")
    changed = load_file(folder / "breakout.py")
    assert changed != one
    assert changed.factory is not one.factory
    assert attrs.evolve(changed, sha256=one.sha256) == one


def test_a_strategy_that_cannot_be_made_is_an_error_with_its_name() -> None:
    def factory(_parameters: object = None, /) -> None:
        raise LookupError("on purpose")

    with pytest.raises(ConfigurationError, match="the strategy fader cannot be made: LookupError"):
        strategies.make_strategies(["fader"], {}, {"fader": factory})  # type: ignore[dict-item]  # its type is wrong on purpose


def test_a_parameter_class_that_raises_when_it_is_read_is_an_error_with_the_file(
    folder: Path,
) -> None:
    path = write(
        folder,
        "odd",
        "class Meta(type):\n"
        "    @property\n"
        "    def parameter_class(cls):\n"
        "        raise ValueError('not now')\n"
        "class Odd(metaclass=Meta):\n"
        "    name = 'odd'\n"
        "strategy = Odd\n",
    )
    with pytest.raises(ConfigurationError, match="reading the parameter_class fails") as error:
        load_file(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "not now" in str(error.value)
