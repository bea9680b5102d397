"""Why each symbol was or was not a candidate in one cycle: a few kilobytes, for `kamou why`.

Kept for the last cycles only and never read back by a decision, so it is compact rather than
canonical: a line of JSON with the names, then per strategy the scores and the abstentions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.codes import Abstain

Columns = tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]  # scores, abstentions: [symbols]


@attrs.frozen(kw_only=True)
class ScanReason:
    """One strategy's answer about one symbol. ``score`` is None when it abstained."""

    strategy: str
    abstain: Abstain
    score: float | None


def pack(symbols: Sequence[str], opinions: Mapping[str, Columns]) -> bytes:
    """The detail of one cycle; every column is in the order of ``symbols``."""
    names = {"symbols": list(symbols), "strategies": list(opinions)}
    parts = [json.dumps(names, separators=(",", ":")).encode(), b"\n"]
    for score, abstain in opinions.values():
        assert len(score) == len(abstain) == len(symbols)
        parts += [score.astype("<f4").tobytes(), abstain.astype(np.uint8).tobytes()]
    return b"".join(parts)


def reasons(body: bytes, symbol: str) -> tuple[ScanReason, ...]:
    """What each strategy said of ``symbol``; none when it was not scanned."""
    head, _, columns = body.partition(b"\n")
    names = json.loads(head)
    if symbol not in names["symbols"]:
        return ()
    count, at = len(names["symbols"]), names["symbols"].index(symbol)
    made = []
    for number, strategy in enumerate(names["strategies"]):
        start = number * count * 5  # four bytes of score and one of abstention per symbol
        score = np.frombuffer(columns, "<f4", count, start)
        abstain = Abstain(int(np.frombuffer(columns, np.uint8, count, start + 4 * count)[at]))
        opinion = float(score[at]) if abstain is Abstain.NONE else None
        made.append(ScanReason(strategy=strategy, abstain=abstain, score=opinion))
    return tuple(made)


def symbols(body: bytes) -> tuple[str, ...]:
    """The symbols that were scanned."""
    return tuple(json.loads(body.partition(b"\n")[0])["symbols"])
