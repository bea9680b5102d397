"""Import every directory of CASES with little memory, and write the results.

    python import_child.py CASES DATA_DIR RESULTS

``RESULTS`` gets a JSON object with the error of each case (or "accepted", or the traceback) and
the peak resident memory of the process in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # so that a script can import the tests

from kamou.errors import InvalidDataError
from kamou.settings.config import DataSettings
from kamou.store.importer import ReadOptions, import_directory, open_market
from tests.store.market_files import NOW_MS

ADDRESS_SPACE_BYTES = 1_500_000_000
LIMITS = DataSettings(unpacked_mb_max=200)  # a tenth of the default takes a tenth of the time


def import_and_open(case: Path, data_dir: Path) -> str:
    """Import the case and open it as a backtest does; return their common result."""
    results = []
    for verb in (
        lambda: import_directory(case, data_dir, now_ms=NOW_MS, reading=ReadOptions(limits=LIMITS)),
        lambda: open_market(data_dir, str(case), now_ms=NOW_MS, options=ReadOptions(limits=LIMITS)),
    ):
        try:
            verb()
            results.append("accepted")
        except InvalidDataError as error:
            results.append(str(error))
        except BaseException:
            return traceback.format_exc()
    return results[0] if results[0] == results[1] else f"Traceback: results differ: {results}"


def peak_resident_mb() -> int:
    """Return the peak resident memory of this process in MiB.

    ``ru_maxrss`` would include the parent's memory before exec.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("/proc/self/status has no line VmHWM; run this on Linux")


def main() -> None:
    cases, data_dir, results = map(Path, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    found = {case.name: import_and_open(case, data_dir) for case in sorted(cases.iterdir())}
    results.write_text(json.dumps({"cases": found, "peak_mb": peak_resident_mb()}))


if __name__ == "__main__":
    main()
