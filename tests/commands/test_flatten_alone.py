"""``kamou flatten`` without its salt key, configuration, journal, or room on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from full_disk import fill, free, small_disk
from small_demo import NOW_MS, SetClock, settings, venue

from kamou.core.day import MINUTE_MS
from kamou.core.model import OrderSide, OrderType
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.runs import demo, flatten
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import OrderRequest
from kamou.venue.store import VenueStore

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "SystemClock", lambda: SetClock(NOW_MS + MINUTE_MS))


def assert_flat(folder: DataDirectory, told: tuple[int, str, str]) -> None:
    code, out, err = told
    assert code == 0, err
    assert json.loads(out)["positions_left"] == 0
    assert not venue(folder).positions
    assert HaltLatch(folder.latch).is_set()


@pytest.mark.parametrize("key", ["", "no hex", "abcd", None])
def test_flatten_closes_without_a_usable_salt_key(
    cli: Cli, traded: DataDirectory, key: str | None
) -> None:
    traded.salt_key.unlink()
    if key is not None:
        traded.salt_key.write_text(key)
        traded.salt_key.chmod(0o600)
    told = cli("flatten", "--json", "--data-dir", traded.path)
    assert_flat(traded, told)
    assert ("closing with a random key" in told[2]) == (key is not None)
    assert traded.salt_key.exists() == (key is not None), "it makes no key of its own"


@pytest.mark.parametrize(
    "wrong",
    ["[demo\nseed = 9", "nonsense", "[risk]\nleverage_max = 1000", "equity = 'x'", "a.b = 1"],
)
def test_flatten_closes_with_a_wrong_line_in_the_configuration(
    cli: Cli, traded: DataDirectory, tmp_path: Path, wrong: str
) -> None:
    (tmp_path / "kamou.toml").write_text(f"data_dir = '{traded.path}'\n{wrong}\n")
    told = cli("flatten", "--json")
    assert_flat(traded, told)
    assert "closing positions without this setting" in told[2]


def test_flatten_closes_on_the_market_the_track_was_begun_on(
    cli: Cli, traded: DataDirectory, tmp_path: Path
) -> None:
    (tmp_path / "kamou.toml").write_text("[demo]\nseed = 99\nsymbols = 3\nbar_s = 900\n")
    assert_flat(traded, cli("flatten", "--json", "--data-dir", traded.path))


def test_flatten_closes_beside_a_damaged_journal(cli: Cli, traded: DataDirectory) -> None:
    traded.database.write_bytes(100_000 * b"x")
    assert_flat(traded, cli("flatten", "--json", "--data-dir", traded.path))


def test_the_latch_is_tried_before_anything_is_read(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("read before the latch")

    monkeypatch.setattr("kamou.commands.control.resolve_valid_settings", refused)
    (tmp_path / "data").mkdir()
    with pytest.raises(AssertionError, match="before the latch"):
        cli("flatten", "--data-dir", tmp_path / "data")
    assert HaltLatch(tmp_path / "data" / "halt-latch").is_set()


def test_flatten_closes_a_short_position(cli: Cli, traded: DataDirectory) -> None:
    sell(traded, "BTCUSDT")
    assert any(held.quantity < 0 for held in venue(traded).positions.values())
    assert_flat(traded, cli("flatten", "--json", "--data-dir", traded.path))


def test_what_a_run_closed_meanwhile_is_told_apart(
    cli: Cli, traded: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = len(venue(traded).positions)
    real = flatten._venue

    def beside(*given: object) -> object:
        close_one(traded)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(flatten, "_venue", beside)
    code, out, _ = cli("flatten", "--json", "--data-dir", traded.path)
    told = json.loads(out)
    assert code == 0
    assert told["positions_found"] == held
    assert told["positions_closed"] == held - 1
    assert told["positions_closed_elsewhere"] == 1


def _engine(folder: DataDirectory) -> Engine:
    of = settings(folder.path)
    store = VenueStore(folder.exchange)
    track = demo.stored_track(store)
    assert track is not None
    source = demo.open_source(of, track, replay=None, now_ms=NOW_MS)
    models = VenueModels.from_settings(of.exchange, of.costs)
    return Engine(source, models, store, start_ms=NOW_MS, wallet_balance=of.equity)


def _market_order(
    folder: DataDirectory, symbol: str, signed: Decimal, *, reduce_only: bool
) -> None:
    with closing(_engine(folder)) as engine:
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


def sell(folder: DataDirectory, symbol: str) -> None:
    held = venue(folder).positions.get(symbol)
    _market_order(
        folder,
        symbol,
        -(held.quantity if held else Decimal(0)) - Decimal("0.01"),
        reduce_only=False,
    )


def close_one(folder: DataDirectory) -> None:
    symbol, held = sorted(venue(folder).positions.items())[0]
    _market_order(folder, symbol, -held.quantity, reduce_only=True)


@pytest.fixture
def full_disk(tmp_path: Path, traded: DataDirectory) -> Iterator[DataDirectory]:
    """The traded folder on a file system of its own with 12 KiB left."""
    size = sum(f.stat().st_size for f in traded.path.rglob("*") if f.is_file())
    with small_disk(tmp_path / "disk", size + 512 * 1024) as disk:
        folder = DataDirectory(shutil.copytree(traded.path, disk / "data"))
        folder.path.chmod(0o700)
        fill(disk)
        yield folder


def test_a_full_disk_is_never_told_as_flat(cli: Cli, full_disk: DataDirectory) -> None:
    code, out, err = cli("flatten", "--json", "--data-dir", full_disk.path)
    free(full_disk.path.parent)
    held = len(venue(full_disk).positions)
    assert held, "there was no room to store a close"
    assert code == 6, err
    assert json.loads(out)["positions_left"] == held
    assert "still open; repeat `kamou flatten`" in err
    assert_flat(full_disk, cli("flatten", "--json", "--data-dir", full_disk.path))
