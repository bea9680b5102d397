"""``kamou flatten`` without a run, salt key, settings, journal or disk space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kamou.core.day import MINUTE_MS
from kamou.core.model import OrderSide, OrderType
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.runs import demo, flatten
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import OrderRequest
from kamou.venue.store import VenueStore
from tests.full_disk import fill, free, small_disk
from tests.small_demo import NOW_MS, SetClock, settings, venue

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "SystemClock", lambda: SetClock(NOW_MS + MINUTE_MS))


def assert_flat(directory: DataDirectory, result: tuple[int, str, str]) -> None:
    code, out, err = result
    assert code == 0, err
    assert json.loads(out)["positions_left"] == 0
    assert not venue(directory).positions
    assert HaltLatch(directory.latch).is_set()


@pytest.mark.parametrize("key", ["", "no hex", "abcd", None])
def test_flatten_closes_positions_without_a_valid_salt_key(
    cli: Cli, traded: DataDirectory, key: str | None
) -> None:
    traded.salt_key.unlink()
    if key is not None:
        traded.salt_key.write_text(key)
        traded.salt_key.chmod(0o600)
    result = cli("flatten", "--json", "--data-dir", traded.path)
    assert_flat(traded, result)
    assert ("closing with a random key" in result[2]) == (key is not None)
    assert traded.salt_key.exists() == (key is not None), "flatten creates no salt key"


@pytest.mark.parametrize(
    "wrong",
    ["[demo\nseed = 9", "nonsense", "[risk]\nleverage_max = 1000", "equity = 'x'", "a.b = 1"],
)
def test_flatten_closes_positions_with_an_invalid_line_in_the_configuration(
    cli: Cli, traded: DataDirectory, tmp_path: Path, wrong: str
) -> None:
    (tmp_path / "kamou.toml").write_text(f"data_dir = '{traded.path}'\n{wrong}\n")
    result = cli("flatten", "--json")
    assert_flat(traded, result)
    assert "closing positions with the valid settings" in result[2]


def test_flatten_uses_the_market_with_which_the_data_directory_was_begun(
    cli: Cli, traded: DataDirectory, tmp_path: Path
) -> None:
    (tmp_path / "kamou.toml").write_text("[demo]\nseed = 99\nsymbols = 3\nbar_s = 900\n")
    assert_flat(traded, cli("flatten", "--json", "--data-dir", traded.path))


def test_flatten_closes_positions_if_the_journal_is_damaged(
    cli: Cli, traded: DataDirectory
) -> None:
    traded.database.write_bytes(100_000 * b"x")
    assert_flat(traded, cli("flatten", "--json", "--data-dir", traded.path))


def test_flatten_sets_the_latch_before_it_reads_the_settings(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("read before the latch")

    monkeypatch.setattr("kamou.commands.control.resolve_valid_settings", fail)
    (tmp_path / "data").mkdir()
    with pytest.raises(AssertionError, match="before the latch"):
        cli("flatten", "--data-dir", tmp_path / "data")
    assert HaltLatch(tmp_path / "data" / "halt-latch").is_set()


def test_flatten_closes_a_short_position(cli: Cli, traded: DataDirectory) -> None:
    sell(traded, "BTCUSDT")
    assert any(held.quantity < 0 for held in venue(traded).positions.values())
    assert_flat(traded, cli("flatten", "--json", "--data-dir", traded.path))


def test_flatten_counts_positions_that_were_closed_elsewhere_separately(
    cli: Cli, traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = len(venue(traded).positions)
    real = flatten._open_port

    def beside(*given: Any) -> object:
        close_one(traded)
        return real(*given)

    monkeypatch.setattr(flatten, "_open_port", beside)
    code, out, _ = cli("flatten", "--json", "--data-dir", traded.path)
    result = json.loads(out)
    assert code == 0
    assert result["positions_found"] == held
    assert result["positions_closed"] == held - 1
    assert result["positions_closed_elsewhere"] == 1


def _engine(directory: DataDirectory) -> Engine:
    of = settings(directory.path)
    store = VenueStore(directory.exchange)
    track = demo.load_binding(store)
    assert track is not None
    source = demo.open_source(of, track, replay=None, now_ms=NOW_MS)
    models = VenueModels.from_settings(of.exchange, of.costs)
    return Engine(source, models, store, start_ms=NOW_MS, wallet_balance=of.equity)


def _market_order(
    directory: DataDirectory, symbol: str, signed: Decimal, *, reduce_only: bool
) -> None:
    with closing(_engine(directory)) as engine:
        engine.place(
            OrderRequest(
                client_order_id=f"test-{symbol}-{signed}",
                symbol=symbol,
                side=OrderSide.BUY if signed > 0 else OrderSide.SELL,
                type=OrderType.MARKET,
                quantity=abs(signed),
                reduce_only=reduce_only,
                leverage=1,
            )
        )


def sell(directory: DataDirectory, symbol: str) -> None:
    held = venue(directory).positions.get(symbol)
    _market_order(
        directory,
        symbol,
        -(held.quantity if held else Decimal(0)) - Decimal("0.01"),
        reduce_only=False,
    )


def close_one(directory: DataDirectory) -> None:
    symbol, held = sorted(venue(directory).positions.items())[0]
    _market_order(directory, symbol, -held.quantity, reduce_only=True)


@pytest.fixture
def full_disk(tmp_path: Path, traded: DataDirectory) -> Iterator[DataDirectory]:
    """Copy the traded data directory to a file system with 12 KiB left."""
    size = sum(f.stat().st_size for f in traded.path.rglob("*") if f.is_file())
    with small_disk(tmp_path / "disk", size + 512 * 1024) as disk:
        directory = DataDirectory(shutil.copytree(traded.path, disk / "data"))
        directory.path.chmod(0o700)
        fill(disk)
        yield directory


def test_a_flatten_on_a_full_disk_reports_the_open_positions(
    cli: Cli, full_disk: DataDirectory
) -> None:
    code, out, err = cli("flatten", "--json", "--data-dir", full_disk.path)
    free(full_disk.path.parent)
    held = len(venue(full_disk).positions)
    assert held, "no exit could be stored"
    assert code == 6, err
    assert json.loads(out)["positions_left"] == held
    assert "still open; repeat `kamou flatten`" in err
    assert_flat(full_disk, cli("flatten", "--json", "--data-dir", full_disk.path))
