"""A few of the kills of the public site that `make kills` runs in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.data_directory.folder import DataDirectory
from tests.simulation.kills import site_kills

KILLS, SEED = 6, 1


async def test_a_site_that_is_killed_at_random_moments_does_not_affect_trading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in site_kills.OF_THE_RUN.items():
        monkeypatch.setenv(name, value)
    done = await site_kills.killed(DataDirectory(tmp_path / "data"), KILLS, SEED)
    assert done.failures == []
    assert done.kills == KILLS
    assert 0 < done.in_history < KILLS
    assert done.cycles > 1_000
