"""The verbs on datasets say which inputs beside bars and funding a dataset has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.market_files import BARS, write_valid_files
from tests.store.test_premium_of_files import write_files
from tests.store.test_ratios_of_files import write_metrics

Cli = Callable[..., tuple[int, str, str]]
RATIOS = f"s has {4 * BARS} long/short ratios and {4 * BARS} of top traders, source: binance"


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_an_import_says_how_many_ratios_of_which_source_it_has(
    cli: Cli, tmp_path: Path, options: tuple[str, ...]
) -> None:
    code, out, _ = cli("data", "import", write_metrics(tmp_path / "s"), *options)
    assert code == 0
    assert RATIOS in out.splitlines()


def test_the_list_of_datasets_has_the_ratios_of_those_that_have_any(
    cli: Cli, tmp_path: Path
) -> None:
    assert cli("data", "import", write_metrics(tmp_path / "s"))[0] == 0
    assert cli("data", "import", write_valid_files(tmp_path / "t"))[0] == 0
    _, out, _ = cli("data", "list")
    assert [line for line in out.splitlines() if " has " in line] == [RATIOS]
    sets = json.loads(cli("data", "list", "--json")[1])["sets"]
    found = [(each["name"], each["ratio_rows"], each["ratio_source"]) for each in sets]
    assert found == [("s", 4 * BARS, "binance"), ("t", 0, "")]


def test_an_import_says_how_many_premium_indices_it_has(cli: Cli, tmp_path: Path) -> None:
    _, out, _ = cli("data", "import", write_files(tmp_path / "s"))
    assert f"s has {BARS} premium indices" in out.splitlines()
    assert json.loads(cli("data", "list", "--json")[1])["sets"][0]["premium_rows"] == BARS
