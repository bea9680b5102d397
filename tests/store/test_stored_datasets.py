"""Which sets are trusted: those whose digest this store wrote, while they are whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_folders import meta, rehash, set_of, stored_set
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from market_files import NOW_MS, candle_rows, funding_rows, good_folder, write_csv, write_parquet
from test_odd_files import same

from kamou.errors import InvalidDataError
from kamou.store import importer
from kamou.store.dataset_description import FILES, META
from kamou.store.importer import import_directory, open_directory, open_market
from kamou.store.market_data import DamagedDataset, list_datasets, load_dataset, market_directory
from kamou.venue.market.recorded import RecordedMarket

MUTANTS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    import_directory(good_folder(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS)
    return tmp_path / "data"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders whose rows were checked, in order."""
    seen: list[str] = []
    read = importer.read_directory

    def counted(source: Path, **options: Any) -> importer.CheckedFiles:
        seen.append(source.name)
        return read(source, **options)

    monkeypatch.setattr(importer, "read_directory", counted)
    return seen


# --- trust ---------------------------------------------------------------------------------------


def test_a_set_of_our_own_import_is_loaded_unchecked_wherever_it_lies(
    store: Path, tmp_path: Path, checked: list[str]
) -> None:
    first = open_market(store, "s", now_ms=NOW_MS)
    shutil.copytree(market_directory(store) / "s", tmp_path / "copy")
    assert same(open_market(store, str(tmp_path / "copy"), now_ms=NOW_MS), first)
    assert checked == []


def test_a_set_that_another_store_wrote_is_checked_and_is_the_same_data(
    store: Path, tmp_path: Path, checked: list[str]
) -> None:
    other = tmp_path / "other"
    market = open_market(other, str(market_directory(store) / "s"), now_ms=NOW_MS)
    assert checked == ["s"]
    assert same(market, load_dataset(market_directory(store) / "s"))
    assert not other.exists(), "opening writes nothing"


@pytest.mark.parametrize("damage", ["missing", "rubbish", "pipe", "folder"])
def test_a_registry_that_cannot_be_read_vouches_for_no_set(
    store: Path, checked: list[str], damage: str
) -> None:
    registry = market_directory(store) / "digests"
    registry.unlink()
    if damage == "rubbish":
        registry.write_bytes(b"\xff\0" * 500)
    elif damage == "pipe":
        os.mkfifo(registry)
    elif damage == "folder":
        registry.mkdir()
    assert open_market(store, "s", now_ms=NOW_MS).recorded_bars
    assert checked == ["s"]


def test_a_registry_in_the_folder_that_is_brought_is_not_looked_at(
    tmp_path: Path, checked: list[str]
) -> None:
    set_of("high", 0.5)(tmp_path / "sets" / "bad")
    import_directory(good_folder(tmp_path / "s"), tmp_path / "theirs", now_ms=NOW_MS)
    shutil.copy(market_directory(tmp_path / "theirs") / "digests", tmp_path / "sets" / "bad")
    shutil.copy(market_directory(tmp_path / "theirs") / "digests", tmp_path / "sets")
    checked.clear()
    with pytest.raises(InvalidDataError, match="high is below"):
        open_market(tmp_path / "data", str(tmp_path / "sets" / "bad"), now_ms=NOW_MS)
    assert checked == ["bad"]


def test_a_set_that_was_changed_after_its_import_is_refused_though_its_hashes_agree(
    store: Path,
) -> None:
    path = market_directory(store) / "s"
    table = pq.read_table(path / "bars.parquet")
    low = table["low"].to_pylist()
    low[3] = -1.0
    at = table.schema.names.index("low")
    pq.write_table(table.set_column(at, "low", pa.array(low)), path / "bars.parquet")
    rehash(path)
    with pytest.raises(InvalidDataError, match="a price is not positive"):
        open_market(store, "s", now_ms=NOW_MS)


def test_a_set_with_gaps_that_were_allowed_opens_from_another_store_with_its_gaps(
    tmp_path: Path,
) -> None:
    rows = candle_rows()
    del rows[5:8], rows[60]
    write_parquet(tmp_path / "holed" / "c.parquet", rows)
    made = import_directory(tmp_path / "holed", tmp_path / "a", now_ms=NOW_MS, allow_gaps=True)
    assert (made.summary.gaps_total, len(made.summary.gaps)) == (2, 2)
    market = open_market(tmp_path / "b", str(made.summary.path), now_ms=NOW_MS)
    assert same(market, load_dataset(made.summary.path))
    said = json.loads((made.summary.path / META).read_text())
    (made.summary.path / META).write_text(json.dumps(said | {"gaps_total": 0}))
    with pytest.raises(InvalidDataError, match="bars before it are missing"):
        open_market(tmp_path / "b", str(made.summary.path), now_ms=NOW_MS)


def test_importing_a_set_from_elsewhere_keeps_its_funding_and_makes_it_ours(
    tmp_path: Path, checked: list[str]
) -> None:
    brought = stored_set(tmp_path / "sets" / "brought")
    checked.clear()
    report = import_directory(brought, tmp_path / "data", now_ms=NOW_MS)
    assert (report.summary.funding_rows, report.summary.open_interest_rows) == (18, 36)
    assert same(open_market(tmp_path / "data", "brought", now_ms=NOW_MS), load_dataset(brought))
    assert checked == ["brought"]
    assert import_directory(brought, tmp_path / "data", now_ms=NOW_MS).unchanged


def test_a_set_without_funding_or_open_interest_can_be_brought(tmp_path: Path) -> None:
    write_csv(tmp_path / "s" / "c.csv", candle_rows())
    path = import_directory(tmp_path / "s", tmp_path / "a", now_ms=NOW_MS).summary.path
    assert same(open_market(tmp_path / "b", str(path), now_ms=NOW_MS), load_dataset(path))


# --- storing -------------------------------------------------------------------------------------


def test_a_set_and_the_registry_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        import_directory(good_folder(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS)
    finally:
        os.umask(before)
    made = [market_directory(tmp_path / "data"), *market_directory(tmp_path / "data").rglob("*")]
    assert len(made) == 7
    assert not [path for path in made if path.stat().st_mode & 0o077]


def test_a_damaged_set_is_not_called_unchanged_and_can_be_replaced(
    store: Path, tmp_path: Path
) -> None:
    (market_directory(store) / "s" / "funding.parquet").write_bytes(b"nothing")
    with pytest.raises(InvalidDataError, match="a damaged dataset named 's' is already stored"):
        import_directory(tmp_path / "s", store, now_ms=NOW_MS)
    import_directory(tmp_path / "s", store, now_ms=NOW_MS, replace=True)
    assert open_market(store, "s", now_ms=NOW_MS).recorded_bars
    assert sorted(each.name for each in market_directory(store).iterdir()) == ["digests", "s"]


def test_what_a_killed_import_left_is_cleared_by_the_next(store: Path, tmp_path: Path) -> None:
    left = market_directory(store) / ".s.x7"
    left.mkdir()
    (left / "bars.parquet").write_bytes(b"half")
    assert [each.name for each in list_datasets(store)] == ["s"]
    import_directory(tmp_path / "s", store, now_ms=NOW_MS)
    assert not left.exists()


def test_two_imports_do_not_store_at_once(store: Path, tmp_path: Path) -> None:
    handle = os.open(market_directory(store), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InvalidDataError, match="another import is storing a dataset"):
            import_directory(tmp_path / "s", store, now_ms=NOW_MS)
    finally:
        os.close(handle)
    assert import_directory(tmp_path / "s", store, now_ms=NOW_MS).unchanged


def test_a_replacement_that_cannot_be_put_in_place_leaves_the_old_set(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_market(store, "s", now_ms=NOW_MS)
    write_csv(tmp_path / "s" / "funding.csv.gz", funding_rows(4))

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("kamou.store.market_data.os.rename", fails)
    with pytest.raises(Exception, match="cannot be written: Input/output error"):
        import_directory(tmp_path / "s", store, now_ms=NOW_MS, replace=True)
    assert same(open_market(store, "s", now_ms=NOW_MS), before)
    assert [each.name for each in list_datasets(store)] == ["s"]


def test_damaged_sets_are_listed_with_the_reason_beside_the_whole_ones(
    store: Path, tmp_path: Path
) -> None:
    folder = market_directory(store)
    meta(period_ms=0)(folder / "zero")
    (folder / "bare").mkdir()
    (folder / "odd\x1b[2Jname").mkdir()
    shutil.copytree(folder / "s", folder / "piped")
    (folder / "piped" / META).unlink()
    os.mkfifo(folder / "piped" / META)
    listed = list_datasets(store)
    damaged = {each.name: each.reason for each in listed if isinstance(each, DamagedDataset)}
    assert [each.name for each in listed if not isinstance(each, DamagedDataset)] == ["s"]
    assert sorted(damaged) == ["bare", r"odd\x1b[2Jname", "piped", "zero"]
    assert "not a regular file" in damaged["piped"]
    assert all(reason.isprintable() for reason in damaged.values())


# --- mutations -----------------------------------------------------------------------------------


def sane(market: RecordedMarket) -> bool:
    """Return True if every known bar is what a checked bar may be; recomputed from the rule."""
    bars = market.data.bars
    known = ~np.isnan(bars.close)
    low, high = bars.low[known], bars.high[known]
    inside = [(low <= each[known]) & (each[known] <= high) for each in (bars.open, bars.close)]
    times = bars.open_ms[[0, -1]]
    return bool(
        np.all(inside)
        and (low > 0).all()
        and np.isfinite(high).all()
        and (bars.volume[known] >= 0).all()
        and times[0] >= 1_230_768_000_000
        and times[1] + bars.period_ms <= NOW_MS
        and (
            np.abs(market.data.funding.values[~np.isnan(market.data.funding.values)]) <= 0.05
        ).all()
    )


def opened_or_refused(open_it: Callable[[], RecordedMarket]) -> RecordedMarket | None:
    """Return the market; None if it was refused as it should be. Whatever else happens escapes."""
    try:
        return open_it()
    except InvalidDataError as error:
        if not str(error).replace("\n", "").isprintable():
            raise AssertionError(f"not printable: {str(error)!r}") from error
        return None


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """A few bytes changed, removed, repeated or cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "remove", "repeat", "cut"]))
        if kind == "flip" and changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            changed[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "remove":
            del changed[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + draw(st.integers(1, 64))]
        else:
            del changed[at:]
    return bytes(changed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one dataset, never written to."""
    base = tmp_path_factory.mktemp("whole")
    import_directory(good_folder(base / "s"), base / "data", now_ms=NOW_MS)
    return base / "data"


@MUTANTS
@given(data=st.data(), name=st.sampled_from([META, *FILES]))
def test_a_stored_set_with_changed_bytes_is_the_same_data_or_refused(
    whole: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(market_directory(whole) / "s", folder)
    (folder / name).write_bytes(data.draw(mutated((folder / name).read_bytes())))
    market = opened_or_refused(lambda: open_market(whole, str(folder), now_ms=NOW_MS))
    assert market is None or same(market, load_dataset(market_directory(whole) / "s"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@MUTANTS
@given(data=st.data())
def test_a_stored_set_that_is_described_otherwise_is_the_same_data_or_refused(
    whole: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(market_directory(whole) / "s", folder)
    said = json.loads((folder / META).read_text())
    key = data.draw(st.sampled_from(sorted(said)))
    value = said[key]
    near = st.integers(-2, 2).map(lambda by: value + by) if isinstance(value, int) else JSON
    said[key] = data.draw(near | JSON)
    (folder / META).write_text(json.dumps(said))
    market = opened_or_refused(lambda: open_market(whole, str(folder), now_ms=NOW_MS))
    assert market is None or same(market, load_dataset(market_directory(whole) / "s"))


@MUTANTS
@given(data=st.data(), name=st.sampled_from(FILES))
def test_a_set_whose_hashes_were_made_to_agree_is_refused_or_holds_only_sane_bars(
    whole: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(market_directory(whole) / "s", folder)
    (folder / name).write_bytes(data.draw(mutated((folder / name).read_bytes())))
    rehash(folder)
    market = opened_or_refused(lambda: open_market(whole, str(folder), now_ms=NOW_MS))
    assert market is None or sane(market)


@MUTANTS
@given(data=st.data(), name=st.sampled_from(["candles_1h.parquet", "funding.csv.gz"]))
def test_files_with_changed_bytes_are_refused_or_hold_only_sane_bars(
    whole: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole.parent / "s", folder)
    (folder / name).write_bytes(data.draw(mutated((folder / name).read_bytes())))
    market = opened_or_refused(lambda: open_directory(folder, now_ms=NOW_MS))
    assert market is None or sane(market)
