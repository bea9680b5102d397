"""A run with a strategy of the operator's own goes on when the strategy fails."""

from __future__ import annotations

from pathlib import Path

from kamou.commands.strategy_template import STRATEGY, fill_template
from kamou.core.book.events import CycleRanked, RunStarted
from kamou.settings.config import DemoSettings
from kamou.settings.strategies import StrategySettings
from kamou.settings.strategy_files import load_folder
from tests.small_demo import journal, of_kind, serving, settings

VALID = "score=np.tanh(beyond)"


async def test_a_run_announces_the_failure_of_a_strategy_once_counts_and_goes_on(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    path = folder / "breakout.py"
    text = fill_template(STRATEGY, "breakout")
    assert VALID in text
    path.write_text(text.replace(VALID, "score=2 + np.tanh(beyond)"))
    path.chmod(0o600)
    files = load_folder(str(folder), ())
    of = settings(
        tmp_path / "data",
        strategies=StrategySettings(enabled=("breakout",), files=files),
        demo=DemoSettings(seed=7, symbols=8, days=1, warmup_days=1),
    )
    async with serving(of) as demo:
        await demo.ready()
        (counted,) = (await demo.status())["strategy_failures"]
    assert (counted["strategy"], counted["kind"]) == ("breakout", "score_invalid")
    assert counted["count"] > 5
    assert counted["last_at_ms"] > counted["first_at_ms"]
    told = [line for line in demo.said if "breakout" in line]
    assert len(told) == 1
    assert f"failed at own/breakout.py:{counted['place'].rpartition(':')[2]}: " in told[0]
    assert not [line for line in demo.said if "crashed" in line]
    events = journal(demo.data_dir)
    assert files["breakout"].sha256 in of_kind(events, RunStarted)[-1].config_json
    cycles = of_kind(events, CycleRanked)
    assert cycles[-1].late_shards == 0
    assert any(figure.name == "breakout.STRATEGY_FAILED" for c in cycles for figure in c.abstained)
