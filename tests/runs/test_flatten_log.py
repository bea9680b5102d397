"""The log of the kill switch, whose damaged lines may not stop the start of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.model import OrderRole
from kamou.runs.flatten import FlattenLog
from tests.core.trading_cases import intent, plan

DAMAGED = [
    b"\xff",
    b"[" * 100_000,
    b"123",
    b"null",
    b"[]",
    b'{"intent": 5}',
    b'{"intent": "{}"}',
    b'{"intent": "nul',
    b"\xef\xbb\xbf{}",
    b'{"note": "\x00"}',
    b'{"intent": "\\ud800"}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_leaves_the_other_intents_readable(tmp_path: Path, line: bytes) -> None:
    log = FlattenLog(path=tmp_path / "flatten.log")
    sent = [intent(role, plan()) for role in (OrderRole.EXIT, OrderRole.STOP_LOSS)]
    log.add_intent(sent[0])
    with log.path.open("ab") as file:
        file.write(line + b"\n")
    log.add_note("closed", left="0")
    log.add_intent(sent[1])
    assert log.read_intents() == tuple(sent)


@given(st.binary(max_size=200))
def test_no_bytes_of_a_log_make_its_reading_fail(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    log = FlattenLog(path=tmp_path_factory.mktemp("log") / "flatten.log")
    log.path.write_bytes(data)
    assert log.read_intents() == ()
