"""Values of files mean one thing, or the error says what is doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.store.importer import read_directory
from tests.store.market_files import BARS, START_MS, bar_rows, write_csv
from tests.store.people_files import PLAIN, bar_lines, bars_of, iso, write_lines
from tests.store.test_files_as_people_have_them import import_error, read

BEGIN_MS = START_MS - BARS * DAY_MS


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S-00:00"])
def test_daily_bars_with_iso_dates_open_at_midnight_of_utc(tmp_path: Path, form: str) -> None:
    rows = bar_rows(("BTCUSDT",))
    daily = [{**row, "ts": BEGIN_MS + at * DAY_MS} for at, row in enumerate(rows)]
    write_lines(
        tmp_path / "BTCUSDT.csv",
        [PLAIN.replace("ts", "date"), *bar_lines(daily, lambda at: iso(at, form))],
    )
    bars = read_directory([tmp_path], now_ms=START_MS, name="s").data.bars
    assert bars.open_ms.tolist() == [row["ts"] for row in daily]
    assert bars.period_ms == DAY_MS


@pytest.mark.parametrize("finer_last", [True, False])
@pytest.mark.parametrize("coarse", [range(0, 24, 4), [0]])
def test_open_interest_of_a_longer_period_stays_outside_of_the_times_of_a_shorter_one(
    tmp_path: Path, coarse: range | list[int], *, finer_last: bool
) -> None:
    def interest(hours: range | list[int], value: float) -> list[dict[str, object]]:
        return [
            {"symbol": "BTCUSDT", "ts": START_MS + hour * HOUR_MS, "open_interest": value}
            for hour in hours
        ]

    write_csv(tmp_path / "bars.csv", bar_rows(("BTCUSDT",)))
    parts = [interest([*coarse, 25], 4.0), interest(range(24, 48), 1.0)]
    for name, part in zip("ab" if finer_last else "ba", parts, strict=True):
        write_csv(tmp_path / f"open_interest_{name}.csv", part)
    found = read(tmp_path).data.open_interest
    hours = ((found.available_ms - START_MS) // HOUR_MS).tolist()
    assert hours == [*coarse, *range(24, 48)]
    assert found.values[:, 0].tolist() == [4.0] * len(coarse) + [1.0] * 24


def test_bars_whose_name_does_not_say_spot_join_those_of_the_perpetual(tmp_path: Path) -> None:
    rows = bars_of("BTCUSDT")
    write_lines(tmp_path / "um" / "BTCUSDT-1h-2025-01-01.csv", [PLAIN, *bar_lines(rows[:24])])
    write_lines(tmp_path / "recent" / "BTCUSDT-1h-2025-01-02.csv", [PLAIN, *bar_lines(rows[24:])])
    found = read(tmp_path)
    assert (len(found.data.bars.open_ms), found.skipped) == (BARS, ())
    write_lines(tmp_path / "spot" / "BTCUSDT-1h-2025-01-02.csv", [PLAIN, *bar_lines(rows[24:])])
    (skipped,) = read(tmp_path).skipped
    assert skipped.file == "spot/BTCUSDT-1h-2025-01-02.csv"


@pytest.mark.parametrize("text", ["", "\n", PLAIN + "\n"])
def test_a_file_without_rows_is_invalid(tmp_path: Path, text: str) -> None:
    write_lines(tmp_path / "BTCUSDT.csv", [PLAIN, *bar_lines(bars_of("BTCUSDT"))])
    (tmp_path / "ETHUSDT.csv").write_text(text)
    assert import_error(tmp_path) == ("ETHUSDT.csv: no rows; remove the file or download it again")
