"""Datasets that load unchecked, their registry, and datasets with changed bytes."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kamou.errors import InvalidDataError
from kamou.store import importer
from kamou.store.dataset_description import FILES, META
from kamou.store.importer import (
    ReadOptions,
    StoreOptions,
    import_directory,
    open_directory,
    open_market,
)
from kamou.store.joined_files import CheckedFiles
from kamou.store.market_data import DamagedDataset, list_datasets, load_dataset, market_directory
from kamou.venue.market.recorded import RecordedMarket
from tests.store.malicious_files import dataset_with_cell, meta, rehash, write_dataset
from tests.store.market_files import (
    NOW_MS,
    bar_rows,
    funding_rows,
    write_csv,
    write_parquet,
    write_valid_files,
)
from tests.store.test_odd_files import have_same_data

CHANGED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    import_directory(write_valid_files(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS)
    return tmp_path / "data"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which the name of each checked directory is added."""
    names: list[str] = []
    read = importer.read_directory

    def read_and_record(source: Path, **options: Any) -> CheckedFiles:
        names.append(source.name)
        return read(source, **options)

    monkeypatch.setattr(importer, "read_directory", read_and_record)
    return names


# --- registry --------------------------------------------------------------------------------


def test_a_registered_dataset_loads_unchecked_from_any_directory(
    store: Path, tmp_path: Path, checked: list[str]
) -> None:
    first = open_market(store, "s", now_ms=NOW_MS)
    shutil.copytree(market_directory(store) / "s", tmp_path / "copy")
    assert have_same_data(open_market(store, str(tmp_path / "copy"), now_ms=NOW_MS), first)
    assert checked == []


def test_a_dataset_of_another_store_is_checked_and_has_the_same_data(
    store: Path, tmp_path: Path, checked: list[str]
) -> None:
    other = tmp_path / "other"
    market = open_market(other, str(market_directory(store) / "s"), now_ms=NOW_MS)
    assert checked == ["s"]
    assert have_same_data(market, load_dataset(market_directory(store) / "s"))
    assert not other.exists(), "opening writes nothing"


@pytest.mark.parametrize("damage", ["missing", "rubbish", "pipe", "directory"])
def test_with_a_missing_or_unreadable_registry_a_dataset_is_checked_and_opens(
    store: Path, checked: list[str], damage: str
) -> None:
    registry = market_directory(store) / "digests"
    registry.unlink()
    if damage == "rubbish":
        registry.write_bytes(b"\xff\0" * 500)
    elif damage == "pipe":
        os.mkfifo(registry)
    elif damage == "directory":
        registry.mkdir()
    assert open_market(store, "s", now_ms=NOW_MS).recorded_bars
    assert checked == ["s"]


def test_a_registry_inside_an_opened_directory_is_ignored(
    tmp_path: Path, checked: list[str]
) -> None:
    dataset_with_cell("high", 0.5)(tmp_path / "sets" / "bad")
    import_directory(write_valid_files(tmp_path / "s"), tmp_path / "other", now_ms=NOW_MS)
    shutil.copy(market_directory(tmp_path / "other") / "digests", tmp_path / "sets" / "bad")
    shutil.copy(market_directory(tmp_path / "other") / "digests", tmp_path / "sets")
    checked.clear()
    with pytest.raises(InvalidDataError, match="high is below"):
        open_market(tmp_path / "data", str(tmp_path / "sets" / "bad"), now_ms=NOW_MS)
    assert checked == ["bad"]


def test_a_dataset_changed_after_its_import_is_checked_even_if_its_hashes_agree(
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


def test_a_dataset_with_allowed_gaps_opens_in_another_store_with_its_gaps(
    tmp_path: Path,
) -> None:
    rows = bar_rows()
    del rows[5:8], rows[60]
    write_parquet(tmp_path / "holed" / "c.parquet", rows)
    made = import_directory(
        tmp_path / "holed", tmp_path / "a", now_ms=NOW_MS, reading=ReadOptions(allow_gaps=True)
    )
    assert (made.summary.gaps_total, len(made.summary.gaps)) == (2, 2)
    market = open_market(tmp_path / "b", str(made.summary.path), now_ms=NOW_MS)
    assert have_same_data(market, load_dataset(made.summary.path))
    fields = json.loads((made.summary.path / META).read_text())
    (made.summary.path / META).write_text(json.dumps(fields | {"gaps_total": 0}))
    with pytest.raises(InvalidDataError, match="bars before it are missing"):
        open_market(tmp_path / "b", str(made.summary.path), now_ms=NOW_MS)


def test_an_imported_dataset_of_another_store_keeps_its_funding_and_is_registered(
    tmp_path: Path, checked: list[str]
) -> None:
    imported = write_dataset(tmp_path / "sets" / "imported")
    checked.clear()
    report = import_directory(imported, tmp_path / "data", now_ms=NOW_MS)
    assert (report.summary.funding_rows, report.summary.open_interest_rows) == (18, 36)
    assert have_same_data(
        open_market(tmp_path / "data", "imported", now_ms=NOW_MS), load_dataset(imported)
    )
    assert checked == ["imported"]
    assert import_directory(imported, tmp_path / "data", now_ms=NOW_MS).unchanged


def test_a_dataset_without_funding_and_open_interest_opens_in_another_store(tmp_path: Path) -> None:
    write_csv(tmp_path / "s" / "c.csv", bar_rows())
    path = import_directory(tmp_path / "s", tmp_path / "a", now_ms=NOW_MS).summary.path
    assert have_same_data(open_market(tmp_path / "b", str(path), now_ms=NOW_MS), load_dataset(path))


# --- storing ---------------------------------------------------------------------------------


def test_datasets_and_the_registry_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        import_directory(write_valid_files(tmp_path / "s"), tmp_path / "data", now_ms=NOW_MS)
    finally:
        os.umask(before)
    made = [market_directory(tmp_path / "data"), *market_directory(tmp_path / "data").rglob("*")]
    assert len(made) == 7
    assert not [path for path in made if path.stat().st_mode & 0o077]


def test_an_import_over_a_damaged_dataset_fails_without_replace(
    store: Path, tmp_path: Path
) -> None:
    (market_directory(store) / "s" / "funding.parquet").write_bytes(b"nothing")
    with pytest.raises(InvalidDataError, match="a damaged dataset named 's' is already stored"):
        import_directory(tmp_path / "s", store, now_ms=NOW_MS)
    import_directory(tmp_path / "s", store, now_ms=NOW_MS, storing=StoreOptions(replace=True))
    assert open_market(store, "s", now_ms=NOW_MS).recorded_bars
    assert sorted(each.name for each in market_directory(store).iterdir()) == ["digests", "s"]


def test_an_import_removes_the_directory_that_a_killed_import_left(
    store: Path, tmp_path: Path
) -> None:
    left = market_directory(store) / ".s.x7"
    left.mkdir()
    (left / "bars.parquet").write_bytes(b"half")
    assert [each.name for each in list_datasets(store)] == ["s"]
    import_directory(tmp_path / "s", store, now_ms=NOW_MS)
    assert not left.exists()


def test_two_imports_cannot_store_at_the_same_time(store: Path, tmp_path: Path) -> None:
    handle = os.open(market_directory(store), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InvalidDataError, match="another import is storing a dataset"):
            import_directory(tmp_path / "s", store, now_ms=NOW_MS)
    finally:
        os.close(handle)
    assert import_directory(tmp_path / "s", store, now_ms=NOW_MS).unchanged


def test_a_failed_replacement_leaves_the_old_dataset(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_market(store, "s", now_ms=NOW_MS)
    write_csv(tmp_path / "s" / "funding.csv.gz", funding_rows(4))

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("kamou.store.market_data.os.rename", fails)
    with pytest.raises(Exception, match="cannot be written: Input/output error"):
        import_directory(tmp_path / "s", store, now_ms=NOW_MS, storing=StoreOptions(replace=True))
    assert have_same_data(open_market(store, "s", now_ms=NOW_MS), before)
    assert [each.name for each in list_datasets(store)] == ["s"]


def test_damaged_datasets_are_listed_with_the_reason(store: Path, tmp_path: Path) -> None:
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


# --- mutations -------------------------------------------------------------------------------


def has_valid_bars(market: RecordedMarket) -> bool:
    """Return True if bars and funding are valid by this test's own rules."""
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


def open_or_none(open_it: Callable[[], RecordedMarket]) -> RecordedMarket | None:
    """Return the market; None after an ``InvalidDataError`` whose text is printable."""
    try:
        return open_it()
    except InvalidDataError as error:
        if not str(error).replace("\n", "").isprintable():
            raise AssertionError(f"not printable: {str(error)!r}") from error
        return None


@st.composite
def change_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw ``content`` with a few bytes changed, removed, repeated or cut off."""
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
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with one dataset, which no test changes."""
    base = tmp_path_factory.mktemp("data_dir")
    import_directory(write_valid_files(base / "s"), base / "data", now_ms=NOW_MS)
    return base / "data"


@CHANGED
@given(data=st.data(), name=st.sampled_from([META, *FILES]))
def test_a_dataset_with_changed_bytes_has_the_same_data_or_is_invalid(
    data_dir: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(market_directory(data_dir) / "s", folder)
    (folder / name).write_bytes(data.draw(change_bytes((folder / name).read_bytes())))
    market = open_or_none(lambda: open_market(data_dir, str(folder), now_ms=NOW_MS))
    assert market is None or have_same_data(market, load_dataset(market_directory(data_dir) / "s"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@CHANGED
@given(data=st.data())
def test_a_dataset_with_a_changed_meta_json_has_the_same_data_or_is_invalid(
    data_dir: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(market_directory(data_dir) / "s", folder)
    fields = json.loads((folder / META).read_text())
    key = data.draw(st.sampled_from(sorted(fields)))
    value = fields[key]
    near = st.integers(-2, 2).map(lambda by: value + by) if isinstance(value, int) else JSON
    fields[key] = data.draw(near | JSON)
    (folder / META).write_text(json.dumps(fields))
    market = open_or_none(lambda: open_market(data_dir, str(folder), now_ms=NOW_MS))
    assert market is None or have_same_data(market, load_dataset(market_directory(data_dir) / "s"))


@CHANGED
@given(data=st.data(), name=st.sampled_from(FILES))
def test_a_changed_dataset_with_correct_hashes_is_invalid_or_has_only_valid_bars(
    data_dir: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(market_directory(data_dir) / "s", folder)
    (folder / name).write_bytes(data.draw(change_bytes((folder / name).read_bytes())))
    rehash(folder)
    market = open_or_none(lambda: open_market(data_dir, str(folder), now_ms=NOW_MS))
    assert market is None or has_valid_bars(market)


@CHANGED
@given(data=st.data(), name=st.sampled_from(["bars_1h.parquet", "funding.csv.gz"]))
def test_market_files_with_changed_bytes_are_invalid_or_have_only_valid_bars(
    data_dir: Path, tmp_path: Path, data: st.DataObject, name: str
) -> None:
    folder = tmp_path / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data_dir.parent / "s", folder)
    (folder / name).write_bytes(data.draw(change_bytes((folder / name).read_bytes())))
    market = open_or_none(lambda: open_directory(folder, now_ms=NOW_MS))
    assert market is None or has_valid_bars(market)
