"""The benchmarks compare equal shapes and print one document."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from trio.testing import MockClock

from kamou.clock import JumpClock
from kamou.simulator import crash_injection, simulation
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import simulate_seed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
NOT_MEASURING = {
    "all",
    "edges",
    "gate_truth",
    "hand_over",
    "make_data",
    "peer_engines",
    "quantiles",
    "real_time",
    "scan_data",
}  # the runner, the modules that benchmarks import, and tables of the gate's decisions


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return loaded("simulation")


def test_every_benchmark_is_run_by_make_bench() -> None:
    found = {path.stem for path in FOLDER.glob("*.py")} - NOT_MEASURING
    assert set(loaded("all").NAMES) == found


@pytest.mark.parametrize("target", ["$(READY)", "bench", "bench-peers"])
def test_make_bench_adds_nothing_to_the_document_on_standard_output(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    _, _, rest = makefile.partition(f"\n{target}: ")
    recipe = rest.partition("\n\n")[0].splitlines()[1:]
    assert recipe
    for line in recipe:
        assert line.startswith("\t@"), f"make prints this command itself: {line}"
        quiet = ("@touch", "@$(PYTHON) -c", "@$(BIN)/python benchmarks/all.py")
        assert line.startswith(tuple(f"\t{word}" for word in quiet)) or line.endswith(">&2")


def test_the_shape_of_simulations_counts_every_step_once(benchmark: ModuleType) -> None:
    scenarios = [Scenario(seed=seed, hours=0.1) for seed in (1, 2)]
    steps = sum(simulate_seed(scenario).steps for scenario in scenarios)
    shape = benchmark.shape_of(scenarios)
    assert (shape.by_clock + shape.by_others) * 0.2 == pytest.approx(steps)
    assert 5 <= shape.tasks <= 50
    assert shape.by_clock > 0
    assert shape.by_others > 0
    assert benchmark.shape_of(scenarios) == shape
    assert vars(simulation)["StepCounter"] is crash_injection.StepCounter, (
        "later simulations use the original class"
    )


@pytest.mark.parametrize(("tasks", "by_clock", "by_others"), [(16, 4800, 7700), (9, 5000, 2000)])
@pytest.mark.parametrize("clock", [JumpClock, lambda: MockClock(autojump_threshold=0)])
def test_the_bare_loop_takes_the_steps_of_the_shape_that_was_given(
    benchmark: ModuleType, clock: object, tasks: int, by_clock: int, by_others: int
) -> None:
    shape = benchmark.Shape(tasks=tasks, by_clock=by_clock, by_others=by_others)
    run = benchmark.bare(shape, 1.0, clock)
    assert run.steps == pytest.approx(by_clock + by_others, rel=0.01)


def test_the_benchmark_of_simulation_prints_one_document(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--seeds", "1", "--hours", "0.05"])
    benchmark.main()
    report = json.loads(capsys.readouterr().out)
    assert report["benchmark"] == "simulation"
    assert report["traces_equal_under_both_clocks"] is True
    assert report["product"]["steps"] == report["product_under_mock_clock"]["steps"]
    assert set(report["ratios"]) == {
        "hours_per_cpu_s_to_limit",
        "steps_per_cpu_s_to_bare_loop",
        "mock_clock_to_jump_clock_cpu",
        "mock_clock_to_jump_clock_cpu_bare",
    }


def test_the_benchmark_of_readers_compares_each_mix_with_the_quiet_one() -> None:
    readers = loaded("readers")
    times = {"p50": 1.0, "p99": 2.0, "max": 4.0, "count": 9}
    quiet = {"healthz_ms": times, "cycle_delay_ms": times, "fill_to_stop_ms": None}
    quiet |= dict.fromkeys(readers.LAGS, 0.5)
    slow = {**quiet, "healthz_ms": {**times, "p99": 6.0}, **dict.fromkeys(readers.LAGS, 1.0)}
    compared = readers.compared({"quiet": quiet, "slow": slow})
    assert compared == {
        "slow": {
            "loop_lag_p99": 2.0,
            "healthz_p99": 3.0,
            "fill_to_stop_max": None,
            "cycle_delay_max": 1.0,
        }
    }
    assert readers.compared({"slow": slow}) == {}
    assert readers.quantiles_ms([]) is None
    assert readers.quantiles_ms([3, 1, 2])["max"] == 3


def test_every_mix_of_readers_has_a_known_kind_and_number_of_connections() -> None:
    kinds = loaded("readers_load/load").KINDS
    mixes = loaded("readers").MIXES
    assert {mix.kind for mix in mixes} <= {*kinds, "hostile"}
    assert {mix.connections for mix in mixes} == {0, 1, 50, 500, 2_000}


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """Yield the benchmark of the scan, without an environment of numba."""
    monkeypatch.syspath_prepend(FOLDER)
    module = loaded("scan")
    monkeypatch.setattr(module.peer_engines, "FOLDER", tmp_path / "peers")
    yield module
    for name in ("peer_engines", "scan_data"):
        sys.modules.pop(name)


def test_all_six_strategies_score_nine_tenths_of_the_cells_in_the_benchmark_of_the_scan(
    scan: ModuleType,
) -> None:
    market, cells = scan.make_market(100), scan.Cells.of(100)
    panel = scan.make_panel(scan.STRATEGIES.values(), market.symbols, scan.PERIOD_MS)
    run = scan.Scan(market=market, panel=panel, evaluate=scan.CHECKED)
    assert scan.measure(run, scan.BATCHES, cells.add) > 0
    shares = cells.shares()
    assert len(shares) == 6
    assert min(shares.values()) >= 0.9
    assert set(run.spent_ns) == {"take", "merge", *shares}
    assert np.isfinite(cells.top).all()
    cells.values[:, :, 3, :11] = np.nan
    with pytest.raises(AssertionError, match="order_flow"):
        cells.shares()


def test_the_benchmark_of_the_scan_skips_an_absent_kernel_by_name(
    scan: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scan, "compare", lambda symbols, kernel: {"kernel": kernel})
    scan.main(["--peers"])
    report = json.loads(capsys.readouterr().out)
    assert report["skipped"] == {
        "numba": "numba is not installed; `make bench-peers` makes its environment"
    }
    assert report["200"] == report["2000"] == {"kernel": False}


def test_the_benchmark_of_the_scan_refuses_a_kernel_with_other_scores(scan: ModuleType) -> None:
    ours = np.array([0.5, np.nan, 2_000.0])
    assert scan.find_difference(ours, ours + np.array((0, 0, 1e-6))) == pytest.approx(5e-10)
    with pytest.raises(AssertionError, match="other cells"):
        scan.find_difference(ours, np.array([0.5, 0.0, 2_000.0]))
    with pytest.raises(AssertionError):
        scan.find_difference(ours, ours + np.array((1e-8, 0, 0)))


def test_the_kernel_of_the_scan_imports_nothing_of_kamou() -> None:
    modules = [path.read_text() for path in (FOLDER / "numba_scan").glob("*.py")]
    assert len(modules) == 6
    assert not [text for text in modules if "kamou" in text.lower()]
