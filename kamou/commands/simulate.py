"""``kamou simulate``: the production system at a faulty venue, by seed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from kamou.commands.options import OutputPath, UserPath
from kamou.commands.printing import (
    format_time,
    print_error_line,
    print_json,
    print_line,
    print_table,
)
from kamou.core.words import count_words
from kamou.data_directory.folder import write_atomically
from kamou.errors import CheckFailedError, ConfigurationError

if TYPE_CHECKING:
    from kamou.simulator.swarm import Result, Swarm

HOURS_MAX = 24.0  # per seed; more seeds find more than longer simulations
SIMULATED_SYMBOLS_MAX = 50
JOBS_MAX = 256  # processes
SHOWN_EVENTS = 25  # last events before a failure
SHOWN_FAILURES = 5  # failed seeds that are printed with their events
DIGESTS = ("digests", "facts_digests")  # by seed, only in the JSON


def parse_seed_range(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """Return ``A..B`` as a pair of inclusive bounds; None if the option is not given.

    Raises:
        click.BadParameter: the value has another form, or not 0 <= A <= B.
    """
    if value is None:
        return None
    first, dots, last = value.partition("..")
    try:
        if not dots:
            raise ValueError(f"got {value!r}, which has no ..")
        bounds = int(first), int(last)
    except ValueError as error:
        raise click.BadParameter(f"expects A..B, like 1..300: {error}", ctx, parameter) from error
    if bounds[0] < 0 or bounds[1] < bounds[0]:
        raise click.BadParameter(f"{value}: expects A..B with 0 <= A <= B", ctx, parameter)
    return bounds


@click.command()
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Simulate this seed.")
@click.option(
    "--seeds", callback=parse_seed_range, metavar="A..B", help="Simulate all seeds from A to B."
)
@click.option(
    "--hours",
    type=click.FloatRange(0, HOURS_MAX, min_open=True),
    default=1.0,
    show_default=True,
    help="Simulated hours with faults; a convergence phase without faults follows.",
)
@click.option(
    "--symbols",
    type=click.IntRange(2, SIMULATED_SYMBOLS_MAX),
    default=5,
    show_default=True,
    metavar="S",
    help="Number of symbols.",
)
@click.option(
    "--faults",
    default="all",
    show_default=True,
    metavar="all|none|A,B",
    help="Fault classes; all: each seed enables a random part of them.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, JOBS_MAX),
    metavar="J",
    help="Processes that share the seeds.  [default: one for each core]",
)
@click.option(
    "--json",
    "json_file",
    type=OutputPath(allow_dash=True),
    metavar="FILE",
    help="Write the results as JSON; - for standard output.",
)
@click.option(
    "--trace",
    type=OutputPath(),
    metavar="FILE",
    help="Write the trace of one seed.",
)
@click.option(
    "--against",
    type=UserPath(exists=True, dir_okay=False),
    metavar="FILE",
    help="Compare the trace of one seed with an earlier trace.",
)
@click.option(
    "--shrink", is_flag=True, help="Shrink the first failure: fewer faults, symbols and hours."
)
def simulate(
    seed: int | None,
    seeds: tuple[int, int] | None,
    hours: float,
    symbols: int,
    faults: str,
    jobs: int | None,
    json_file: Path | None,
    trace: Path | None,
    against: Path | None,
    shrink: bool,
) -> None:
    """Run the production system in simulated time at a faulty venue; check invariants.

    A commit, a seed and the options are a complete bug report, because they give the same trace.
    Exit code 6: an invariant was violated, a required event such as a fill never happened, the
    trace differs from that of --against, or an enabled fault happened in none of several seeds.
    """
    from kamou.simulator.faults import parse_faults
    from kamou.simulator.scenario import Scenario
    from kamou.simulator.swarm import run_swarm, shrink_failure

    if (seed is None) == (seeds is None):
        raise click.UsageError("expects either --seed N or --seeds A..B")
    if seeds is not None and (trace or against):
        raise click.UsageError("--trace and --against need --seed N, not --seeds")
    first, last = seeds if seeds is not None else (seed, seed)
    assert first is not None
    assert last is not None
    before = _read_trace(against)
    scenario = Scenario(
        seed=first,
        hours=hours,
        symbols=symbols,
        faults=parse_faults(faults),
        keep_trace=bool(trace or against),
    )
    swarm = run_swarm(
        [attrs.evolve(scenario, seed=number) for number in range(first, last + 1)],
        jobs=jobs or min(count_cores(), JOBS_MAX),
        report=_report_failure,
    )
    if shrink and swarm.failures:
        small = shrink_failure(swarm.failures[0], report=print_error_line)
        swarm = attrs.evolve(swarm, results=(small,))
    _write_results(swarm, json_file, trace)
    if before is not None:
        _compare_traces(before, swarm.results[0])
    _check_swarm(swarm)


def count_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system; it respects an affinity mask
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _report_failure(result: Result) -> None:
    if result.failed:
        first = result.violations[0]
        print_line(
            f"seed {result.scenario.seed}: {first.rule} at {format_time(first.at_ms)}", err=True
        )


def _trace_lines(result: Result) -> list[str]:
    from kamou.simulator import trace

    scenario = result.scenario
    facts = f"hours={scenario.hours:g} symbols={scenario.symbols} faults={','.join(result.on)}"
    return [trace.make_header(scenario.seed, facts), *result.trace, f"digest {result.digest}"]


def _read_trace(against: Path | None) -> list[str] | None:
    from kamou.simulator import trace

    return trace.read_trace(against) if against is not None else None


def _compare_traces(before: list[str], result: Result) -> None:
    from kamou.simulator import trace

    now = _trace_lines(result)
    if before[0] != now[0]:
        raise ConfigurationError(
            f"the traces are of two simulations: {before[0]!r} in the file, {now[0]!r} now; use "
            "the options of the file's first line"
        )
    trace.compare_traces(before, now)


def _write_results(swarm: Swarm, json_file: Path | None, trace: Path | None) -> None:
    if trace is not None:
        write_atomically(trace, "\n".join(_trace_lines(swarm.results[0])) + "\n")
    found = swarm.as_json()
    if json_file is not None:
        if str(json_file) == "-":
            print_json(found)
            return
        write_atomically(json_file, json.dumps(found, indent=2, default=str) + "\n")
    _print_results(swarm, found)


COUNT_NAMES = {
    "cpu_s": "CPU time, s",
    "sim_hours_per_cpu_s": "simulated hours per s of CPU",
    "steps_per_cpu_s": "steps per s of CPU",
}


def _print_results(swarm: Swarm, found: dict[str, Any]) -> None:
    for result in swarm.failures[:SHOWN_FAILURES]:
        first = result.violations[0]
        where = f" {first.symbol}" if first.symbol else ""
        seed = f"seed {result.scenario.seed}"
        print_line(
            f"{seed} violates {first.rule}{where} at {format_time(first.at_ms)}: {first.detail}"
        )
        hours = f"hours: {result.scenario.hours:g}"
        print_line(f"  faults: {','.join(result.on) or 'none'}; {hours}")
        print_line("  the last events before it:")
        for line in result.last_events[-SHOWN_EVENTS:]:
            print_line(f"    {line}")
    plain = {k: v for k, v in found.items() if k not in ("coverage", "failures", *DIGESTS)}
    print_table("simulation", ("figure", "value"), map(_format_figure, plain, plain.values()))
    print_table("coverage", ("what", "times"), found["coverage"].items())


def _format_figure(name: str, value: object) -> tuple[str, object]:
    """Return name and value of a figure in words; a list is joined by commas."""
    shown = ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else value
    return COUNT_NAMES.get(name, name.replace("_", " ")), shown


def _check_swarm(swarm: Swarm) -> None:
    """Check that invariants held, and that faults and required events happened.

    Raises:
        CheckFailedError: an invariant was violated, or ``swarm.missing`` is not empty.
    """
    if swarm.failures:
        seeds = ", ".join(str(result.scenario.seed) for result in swarm.failures[:20])
        raise CheckFailedError(
            f"{count_words(len(swarm.failures), 'seed')} failed: {seeds}; repeat one with --seed N "
            "--trace FILE"
        )
    if swarm.missing:
        raise CheckFailedError(
            f"{', '.join(swarm.missing)}: never happened, so the result says nothing about such "
            "events; simulate more seeds or hours"
        )
