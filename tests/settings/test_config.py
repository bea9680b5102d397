"""Settings: sources, checks, digest, lines, and the messages for invalid values."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.risk.limits import RiskLimits
from kamou.errors import ConfigurationError
from kamou.settings.commented_toml import render_commented_toml
from kamou.settings.config import (
    Resolved,
    Settings,
    canonical_json,
    collect_leaf_types,
    digest,
    flatten_settings,
    load_settings,
)
from kamou.settings.setting import Setting
from kamou.settings.table import settings_table
from kamou.settings.toml_text import find_key_line, find_key_lines

SETTINGS = settings_table()


def load_text(tmp_path: Path, text: str, **environ: str) -> Resolved:
    path = tmp_path / "kamou.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ)


def fail_to_load(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_text(tmp_path, text, **environ)
    assert caught.value.exit_code == 4
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_without_file_or_environment_every_setting_is_its_default() -> None:
    resolved = load_settings(None, {"PATH": "/bin", "KAMOU_SHARED": "elsewhere"})
    assert resolved.settings == Settings()
    assert set(resolved.origins.values()) == {"default"}


def test_the_table_has_one_row_for_every_setting_and_no_other_row() -> None:
    assert set(collect_leaf_types(Settings)) == set(SETTINGS)


def test_every_default_is_accepted_by_its_row() -> None:
    refusals = {
        key: SETTINGS[key].find_problem(v) for key, v in flatten_settings(Settings()).items()
    }
    assert not [key for key, refusal in refusals.items() if refusal]


def test_options_override_the_environment_which_overrides_the_file_and_the_defaults(
    tmp_path: Path,
) -> None:
    path = tmp_path / "kamou.toml"
    path.write_text("[web]\nport = 1\noperator_port = 2\n[demo]\nseed = 3\n")
    environ = {"KAMOU__WEB__PORT": "10", "KAMOU__WEB__OPERATOR_PORT": "20"}
    resolved = load_settings(path, environ, {"web.port": ("--port", 100)})
    assert resolved.settings.web.port == 100
    assert resolved.settings.web.operator_port == 20
    assert resolved.settings.demo.seed == 3
    assert resolved.origins["web.port"] == "--port"
    assert resolved.origins["web.operator_port"] == "KAMOU__WEB__OPERATOR_PORT"
    assert resolved.origins["demo.seed"] == f"{path}:5"
    assert resolved.origins["demo.days"] == "default"


def test_a_decimal_setting_is_exact_as_text_and_as_a_number(tmp_path: Path) -> None:
    written = load_text(tmp_path, 'risk = {risk_per_trade = 0.0025}\nequity = "1e3"')
    assert written.settings.risk.risk_per_trade == Decimal("0.0025")
    assert written.settings.equity == Decimal(1000)
    other = load_text(tmp_path, "equity=1000.0", KAMOU__RISK__RISK_PER_TRADE="2.5e-3")
    assert other.digest == written.digest


def test_the_environment_sets_booleans_lists_numbers_paths_and_texts() -> None:
    resolved = load_settings(
        None,
        {
            "KAMOU__EXCHANGE__ATTACHED_STOP": "False",
            "KAMOU__VETO__EXCLUDED": "AUSDT, BUSDT,",
            "KAMOU__STRATEGIES__OI_MOMENTUM__HORIZONS_DAYS": "1,3",
            "KAMOU__VETO__REWARD_TO_RISK_MIN": "1.5",
            "KAMOU__DATA_DIR": "some/where",
            "KAMOU__CHANGE_REASON": "a test",
        },
    ).settings
    assert resolved.exchange.attached_stop is False
    assert resolved.veto.excluded == ("AUSDT", "BUSDT")
    assert flatten_settings(resolved)["strategies.oi_momentum.horizons_days"] == (1, 3)
    assert resolved.veto.reward_to_risk_min == 1.5
    assert resolved.data_dir == Path("some/where")
    assert resolved.change_reason == "a test"


def test_the_error_for_an_unknown_key_names_its_line_and_the_most_similar_key(
    tmp_path: Path,
) -> None:
    message = fail_to_load(tmp_path, "[risk]\n# why\nleverage_maxx = 3\n")
    assert message == (
        "kamou.toml:3: unknown setting risk.leverage_maxx; did you mean risk.leverage_max?"
    )


def test_the_error_for_a_key_in_the_wrong_table_suggests_the_right_table(tmp_path: Path) -> None:
    assert "did you mean web.operator_port?" in fail_to_load(tmp_path, "operator_port = 1\n")


def test_the_error_for_a_key_without_a_similar_one_points_to_show_config(tmp_path: Path) -> None:
    assert "remove it, or use a name that `kamou show-config` lists without it" in fail_to_load(
        tmp_path, "[zzz]\nqqq = 1\n"
    )


def test_the_error_for_an_unknown_variable_does_not_repeat_its_value(tmp_path: Path) -> None:
    message = fail_to_load(tmp_path, "", KAMOU__EXCHANGE__API_KEY="sesame")
    assert "KAMOU__EXCHANGE__API_KEY: unknown setting exchange.api_key" in message
    assert "sesame" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "risk.leverage_max = 'five'",
            "risk.leverage_max expects a whole number (times), got 'five'",
        ),
        ("risk.leverage_max = 2.5", "expects a whole number (times), got Decimal('2.5')"),
        ("risk.leverage_max = true", "expects a whole number (times), got True"),
        ("equity = 'much'", "equity expects a number (USDT), got 'much'"),
        ("equity = []", "equity expects a number (USDT), got []"),
        ("equity = nan", "equity expects a number (USDT)"),
        ("equity = inf", "equity expects a number (USDT)"),
        ("veto.reward_to_risk_min = '1.2'", "expects a number, got '1.2'"),
        ("exchange.attached_stop = 1", "exchange.attached_stop expects true or false, got 1"),
        ("mode = 3", "mode expects text, got 3"),
        ("data_dir = ''", "data_dir expects a path, got ''"),
        ("veto.excluded = 'BTCUSDT'", "veto.excluded expects a list of texts, got 'BTCUSDT'"),
        ("veto.excluded = [1]", "veto.excluded expects a list of texts, got [1]"),
        ("[demo.seed]\nx = 1", "demo.seed expects a whole number"),
    ],
)
def test_the_error_for_a_value_of_the_wrong_type_says_what_was_expected(
    tmp_path: Path, text: str, expected: str
) -> None:
    message = fail_to_load(tmp_path, text)
    assert message.startswith("kamou.toml:1: ")
    assert expected in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAMOU__RISK__LEVERAGE_MAX", "2.5"),
        ("KAMOU__EQUITY", "lots"),
        ("KAMOU__EXCHANGE__ATTACHED_STOP", "yes"),
        ("KAMOU__STRATEGIES__OI_MOMENTUM__HORIZONS_DAYS", "1,x"),
    ],
)
def test_the_error_for_a_variable_of_the_wrong_type_names_the_variable(
    tmp_path: Path, name: str, value: str
) -> None:
    message = fail_to_load(tmp_path, "", **{name: value})
    assert message.startswith(f"{name}: ")
    assert "expects" in message


@pytest.mark.parametrize(
    ("key", "too_much"),
    [
        ("risk.risk_per_trade", "0.0101"),
        ("risk.exposure_per_symbol", "0.151"),
        ("risk.daily_loss_max", "0.05"),
        ("risk.open_risk_max", "0.05"),
        ("risk.leverage_max", "6"),
        ("risk.protection_deadline_s", "11"),
        ("risk.cluster_risk_max", "0.021"),
        ("risk.flatten_at", "1.6"),
    ],
)
def test_a_cap_can_be_lowered_but_not_raised(tmp_path: Path, key: str, too_much: str) -> None:
    message = fail_to_load(tmp_path, f"{key} = {too_much}")
    assert "a setting may only" in message
    assert str(SETTINGS[key].high) in message
    lowered = load_text(tmp_path, f"{key} = {SETTINGS[key].low}")
    assert lowered.origins[key].endswith(":1")


@pytest.mark.parametrize(
    "key",
    ["risk.gap_buffer_min", "risk.gap_memory_days", "risk.liquidation_multiple", "risk.shock_move"],
)
def test_a_floor_cannot_be_lowered(tmp_path: Path, key: str) -> None:
    low = 1 if key.endswith("_days") else "0.01"
    assert "a setting may only raise it" in fail_to_load(tmp_path, f"{key} = {low}")


def test_the_error_for_an_unknown_choice_lists_the_choices(tmp_path: Path) -> None:
    assert "mode expects one of demo, paper, live, got 'fun'" in fail_to_load(
        tmp_path, "mode = 'fun'"
    )


def test_the_error_for_an_invalid_item_of_a_list_has_the_item(tmp_path: Path) -> None:
    message = fail_to_load(tmp_path, "strategies.oi_momentum.horizons_days = [1, 0]")
    assert "must be between 1 and 365 days, got 0" in message


def test_the_error_has_one_line_for_every_invalid_setting(tmp_path: Path) -> None:
    message = fail_to_load(tmp_path, "mode = 1\n[web]\nport = 70000\nprot = 1\n")
    assert [line.partition(": ")[0] for line in message.splitlines()] == [
        "kamou.toml:1",
        "kamou.toml:3",
        "kamou.toml:4",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cycle.period_s = 7777", "cycle.period_s (kamou.toml:1): must divide a day"),
        ("cycle.timeframe_s = 7777", "cycle.timeframe_s (kamou.toml:1)"),
        ("demo.bar_s = 1234", "demo.bar_s (kamou.toml:1): must divide a day"),
        (
            "demo.bar_s = 1440",
            "cycle.timeframe_s (default) and demo.bar_s (kamou.toml:1): one must",
        ),
        ("web.port = 8081", "the public and the operator listener need different ports"),
        ("strategies.enabled = []", "is empty; name at least one strategy"),
        ("strategies.enabled = ['a', 'a']", "names a strategy twice; name each once"),
        ("strategies.mean_reversion.warmup = 50", "the warm-up must be at least the window"),
        ("supervision.backoff_base_ms = 60000", "backoff_cap_ms must be at least backoff_base_ms"),
    ],
)
def test_settings_that_contradict_each_other_or_break_a_rule_are_invalid(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in fail_to_load(tmp_path, text)


def test_both_listeners_may_use_port_0_for_any_free_port(tmp_path: Path) -> None:
    assert load_text(tmp_path, "web = {port = 0, operator_port = 0}").settings.web.port == 0


def test_the_error_for_a_missing_settings_file_names_kamou_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="kamou init"):
        load_settings(tmp_path / "none.toml", {})


def test_the_error_for_a_settings_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    assert "line 2" in fail_to_load(tmp_path, "mode = 'demo'\nport = = 1\n")


def test_a_settings_file_that_is_not_utf_8_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "kamou.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_settings(path, {})


def test_the_digest_depends_on_risk_limits_but_not_on_data_directory_ports_or_change_reason() -> (
    None
):
    base = Settings()
    elsewhere = attrs.evolve(
        base, data_dir=Path("b"), web=attrs.evolve(base.web, port=1), change_reason="moved"
    )
    assert digest(elsewhere) == digest(base)
    lower = attrs.evolve(base, risk=RiskLimits(risk_per_trade=Decimal("0.005")))
    assert digest(lower) != digest(base)
    assert "data_dir" not in canonical_json(base)


def test_the_canonical_json_of_a_decimal_does_not_depend_on_its_spelling() -> None:
    spelled = attrs.evolve(Settings(), equity=Decimal("1.0E+4"))
    assert canonical_json(spelled) == canonical_json(Settings())
    assert '"equity":"10000"' in canonical_json(spelled)


def test_the_file_of_kamou_init_loads_as_the_defaults_both_commented_and_uncommented(
    tmp_path: Path,
) -> None:
    assert load_text(tmp_path, render_commented_toml()).settings == Settings()
    resolved = load_text(tmp_path, re.sub(r"(?m)^#(?=\w)", "", render_commented_toml()))
    assert resolved.settings == Settings()
    assert "default" not in resolved.origins.values()


def test_the_range_text_and_the_error_of_a_setting_name_its_bounds() -> None:
    assert Setting("a", "s", "", 1, 2).range_text() == "between 1 and 2 s"
    assert Setting("a", "", "", 1).range_text() == "at least 1"
    assert Setting("a", "", "", None, 2).range_text() == "at most 2"
    assert Setting("a", "", "").range_text() == ""
    assert Setting("a", "", "", None, 2).find_problem(3) == "must be at most 2, got 3"


def test_key_lines_are_correct_with_comments_arrays_and_multi_line_strings() -> None:
    text = '\n# a = 1\na = """\nb = 2\n"""\nc = [\n  1,\n]\n[ t . "u" ]\nd.e = 1\n[[x]]\nf = 1\n'
    assert tomllib.loads(text)
    lines = find_key_lines(text)
    assert lines["a"] == 3
    assert "b" not in lines
    assert lines["c"] == 6
    assert lines["t.u"] == 9
    assert lines["t.u.d.e"] == 10
    assert find_key_line(lines, "t.u.d.e.inside") == 10
    assert find_key_line(lines, "nowhere.at.all") == 1


def test_a_multi_line_string_ends_only_at_its_own_kind_of_quotes() -> None:
    text = "a = '''\n\"\"\"\nb = 1\n'''\nc = 2\n"
    assert find_key_lines(text) == {"a": 1, "c": 5}


KEYS = sorted(
    key for key, kind in collect_leaf_types(Settings).items() if kind in (int, Decimal, float)
)


@settings(max_examples=60)
@given(key=st.sampled_from(KEYS), value=st.decimals(-10, 10, places=4), blank=st.integers(0, 5))
def test_a_number_is_loaded_exactly_or_the_error_names_its_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Decimal, blank: int
) -> None:
    path = tmp_path_factory.mktemp("config") / "kamou.toml"
    path.write_text("\n" * blank + f"{key} = {value}\n")
    try:
        resolved = load_settings(path, {})
    except ConfigurationError as error:
        message = str(error)
    else:
        assert Decimal(str(flatten_settings(resolved.settings)[key])) == value
        message = f"{key} {resolved.origins[key]}"
    assert f"{path}:{blank + 1}" in message
    assert key in message
