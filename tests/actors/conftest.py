"""Fixtures of a journal with its actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.actors.journal_bench import Bench, benches


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Yield a function that makes benches over one file, each like that of a new run."""
    with benches(tmp_path) as made:
        yield made


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """Return the bench of a first run."""
    return make()
