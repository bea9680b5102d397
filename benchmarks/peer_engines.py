"""Engines of other projects: an environment for each, and what one run of a process costs.

    python benchmarks/peer_engines.py [NAME ...]

makes the environments below ``benchmarks/.peers/``, which Git ignores. They do not know our
constraints: each engine gets the versions that it asks for. One that does not install is skipped
by name, with the reason. An engine's work is a script in ``benchmarks/peers/``, which its own
interpreter runs; it reads bars from a file and imports nothing of Kamou.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import venv
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SCRIPTS = HERE / "peers"
FOLDER = HERE / ".peers"
NAMES = ("nautilus_trader", "vectorbt", "freqtrade", "backtesting")  # packages and scripts
KERNEL = "numba"  # the peer of ``scan.py``; its script is a folder of modules
INSTALL_TIMEOUT_S = 1_800
RUN_TIMEOUT_S = 3_600
# One thread each: CPU seconds of threads that wait for each other say nothing about the work.
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1"
    for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR", "POLARS_MAX", "RAYON")
}


class Spent(NamedTuple):
    """What a process and the processes that it waited for took."""

    cpu_s: float
    peak_mb: float
    printed: str


class PeerFailedError(Exception):
    """A process did not end well; the text is the last line that it wrote."""


def interpreter(name: str) -> Path:
    return FOLDER / name / "bin" / "python"


def reason_to_skip(name: str) -> str | None:
    """Why an engine cannot be measured, or None."""
    if (FOLDER / name / "installed").exists():
        return None
    failed = FOLDER / f"{name}.failed"
    if failed.exists():
        return f"{name} did not install: {failed.read_text()}"
    return f"{name} is not installed; `make bench-peers` makes its environment"


def install(name: str) -> None:
    """Make the environment of an engine, if there is none; keep the reason if that fails."""
    if reason_to_skip(name) is None:
        return
    failed = FOLDER / f"{name}.failed"
    FOLDER.mkdir(exist_ok=True)
    venv.create(FOLDER / name, with_pip=True, clear=True)
    command = [str(interpreter(name)), "-m", "pip", "install", "-q", "--no-input", name]
    try:
        spend(command, cwd=FOLDER, limit_s=INSTALL_TIMEOUT_S)
    except PeerFailedError as why:
        failed.write_text(str(why))
    else:
        failed.unlink(missing_ok=True)
        (FOLDER / name / "installed").touch()


def environment() -> dict[str, str]:
    """This process's environment without our constraints, paths and settings."""
    ours = ("PYTHON", "VIRTUAL_ENV", "PIP_CONSTRAINT", "KAMOU_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **ONE_THREAD}


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"


def spend(
    command: list[str],
    *,
    cwd: Path,
    env: dict[str, str] | None = None,
    limit_s: float = RUN_TIMEOUT_S,
) -> Spent:
    """Run a process to its end; CPU seconds (user and system) and memory, its children's too.

    The kernel counts the memory of the process that starts another as that other's, up to the
    moment when it begins: call this from a small process.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=out, stderr=errors, cwd=cwd, env=env or environment()
        )
        late = threading.Timer(limit_s, process.kill)
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, errors):
            file.seek(0)
        if process.returncode:
            text = last_line(errors.read().decode(errors="replace"))
            raise PeerFailedError(f"exit code {process.returncode}: {text}")
        return Spent(
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss / 1024,
            printed=out.read().decode(),
        )


def ask(name: str, verb: str, bars: Path, folder: Path, rule: dict[str, Any]) -> Spent:
    """Run an engine's script: ``prepare`` writes its own files to ``folder``, ``run`` trades."""
    script = str(SCRIPTS / f"{name}.py")
    # -P: the script has the name of the package that it imports.
    command = [str(interpreter(name)), "-P", script, verb, str(bars), str(folder)]
    return spend([*command, json.dumps(rule)], cwd=folder)


def trade(name: str, bars: Path, folder: Path, rule: dict[str, Any]) -> dict[str, Any]:
    """Trade the bars; what the engine reports of it, and what it cost."""
    spent = ask(name, "run", bars, folder, rule)
    # An engine may write lines of its own before the script's answer.
    found: dict[str, Any] = json.loads(spent.printed.splitlines()[-1])
    return {**found, **cost(spent, found["bars"])}


def run_kernel(folder: Path, shape: dict[str, Any]) -> dict[str, Any]:
    """Scan the market in a folder; what the kernel reports. It writes its scores there."""
    script = str(HERE / "numba_scan" / "scan.py")
    command = [str(interpreter(KERNEL)), script, str(folder), json.dumps(shape)]
    found: dict[str, Any] = json.loads(spend(command, cwd=folder).printed.splitlines()[-1])
    return found


def cost(spent: Spent, bars: int) -> dict[str, Any]:
    return {
        "cpu_s": round(spent.cpu_s, 2),
        "peak_mb": round(spent.peak_mb, 1),
        "bars_per_cpu_s": round(bars / spent.cpu_s),
    }


def usable(tried: Path, folder: Path, rule: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The engines that can trade a few bars, and why each other one is skipped."""
    found, skipped = [], {}
    for name in NAMES:
        reason = reason_to_skip(name)
        if reason is None:
            work = folder / f"trial-{name}"
            work.mkdir()
            try:
                ask(name, "prepare", tried, work, rule)
                trade(name, tried, work, rule)
            except PeerFailedError as failed:
                reason = f"{name} fails on a few bars: {failed}"
        if reason is None:
            found.append(name)
        else:
            skipped[name] = reason
    return found, skipped


def main() -> None:
    for name in sys.argv[1:] or (*NAMES, KERNEL):
        sys.stderr.write(f"environment of {name} ...\n")
        install(name)
        reason = reason_to_skip(name)
        if reason is not None:
            sys.stderr.write(f"skipped: {reason}\n")


if __name__ == "__main__":
    main()
