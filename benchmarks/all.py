"""Every benchmark, one after the other, as one JSON document on standard output.

    python benchmarks/all.py [--peers]

Ratios are taken within one run, so that documents of different machines can be compared. A copy
goes to ``benchmarks/results/``, which Git ignores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = (
    "scan",
    "journal",
    "crash_to_message",
    "bar_to_order",
    "stretches",
    "unprotected",
    "simulation",
    "growth",
    "pages",
    "readers",
    "backtest",
    "wide",
)
WITH_PEERS = ("scan", "backtest", "wide")
TIMEOUT_S = 7_200


def run(name: str, *options: str) -> dict[str, Any]:
    sys.stderr.write(f"{name} ...\n")
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *options],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="other people's engines, too")
    given = parser.parse_args()
    document: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "load_before": os.getloadavg()[0],
        },
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    for name in NAMES:
        options = ("--peers",) if name in WITH_PEERS and given.peers else ()
        document[name] = run(name, *options)
    text = json.dumps(document, indent=2) + "\n"
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    stamp = document["at"].replace(":", "").replace("-", "")
    (results / f"{stamp}.json").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
