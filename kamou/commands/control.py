"""``kamou halt``, ``resume``, ``flatten``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kamou.commands.lenient import resolve_what_holds
from kamou.commands.operator import Operator
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_facts, say, say_error
from kamou.data_directory.folder import DataFolder
from kamou.data_directory.latch import HaltLatch
from kamou.data_directory.lock import lock_holder
from kamou.errors import CheckFailedError, KamouError, NotRunningError, StoreError
from kamou.settings.config import Resolved

ACTOR = "operator"


def reason_option(verb: Any) -> Any:
    return click.option(
        "--reason", default="", metavar="TEXT", help="Why; it is written in the journal."
    )(verb)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def halt(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Stop new risk now; stops and targets stay on the exchange.

    Exit code 6: entries are held by the run that is alive, and the halt is not journalled yet.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    operator = Operator.find(DataFolder(resolved.settings.data_dir))
    told = operator.command("halt", reason or "halt by the operator")
    print_facts(told, as_json=as_json)
    if not told.get("journalled", True):
        raise CheckFailedError(
            f"the halt is not journalled yet, the state is still {told['state']}: this run holds "
            "entries meanwhile, and a later one would not; free space on the disk, then look at "
            "`kamou status`; `kamou flatten` sets the halt latch"
        )


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def resume(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Resume trading after a halt. After `flatten` it takes two steps.

    The first removes the halt latch that `flatten` left, also without a running system, and
    takes a running one from FLATTEN to halted; the second lets it trade again.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    folder = DataFolder(resolved.settings.data_dir)
    latch = HaltLatch(folder.latch)
    reason = reason or "resumed by the operator"
    lock_holder(folder.path)  # another user is told so: a latch that cannot be seen counts as set
    if not latch.is_set():
        print_facts(Operator.find(folder).command("resume", reason), as_json=as_json)
        return
    latch.clear(reason, ACTOR, _now_ms())
    done: dict[str, Any] = {"latch": "removed", "next": "`kamou resume` again lets it trade"}
    try:
        done |= Operator.find(folder).command("resume", reason)
    except KamouError as error:
        done["system"] = str(error)
    print_facts(done, as_json=as_json)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def flatten(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Cancel entries and close everything, also when `run` is dead or hangs.

    First of all it sets the halt latch: while that file is there no entry passes, and a later
    `run` respects it. `kamou resume` removes it. The positions that are left are counted at the
    exchange, whoever closed them.
    """
    reason = reason or "flatten by the operator"
    warn = Once()
    latch = "" if data_dir is None else _set_latch(DataFolder(data_dir), reason)
    resolved = resolve_what_holds(config_path, warn, data_dir=data_dir)
    folder = DataFolder(resolved.settings.data_dir)
    if data_dir is None:
        latch = _set_latch(folder, reason)
    try:
        folder.create(say_error)
    except StoreError as error:
        warn(str(error))  # closing goes before closing the folder
    done, left = _close_all(resolved, reason, warn)
    print_facts({"latch": latch or "set", **done, "positions_left": left}, as_json=as_json)
    if latch:
        raise CheckFailedError(f"{latch}; repeat `kamou flatten`: a running system may enter again")
    if left:
        raise CheckFailedError(f"{left} positions are still open; repeat `kamou flatten`")
    if entries := done.get("entries_left"):
        raise CheckFailedError(f"{entries} entries still rest; repeat `kamou flatten`")


def _close_all(resolved: Resolved, reason: str, warn: Once) -> tuple[dict[str, Any], int]:
    """Have everything closed, by the run or without it: what was done, and positions left.

    Raises:
        NotRunningError: there is nothing that could be open.
        CheckFailedError: the venue's file cannot be read, so what is open is not known.
    """
    from kamou.runs import flatten as kill_switch

    try:
        found = Operator.find(DataFolder(resolved.settings.data_dir))
        done = {"by": "run", **found.command("flatten", reason)}
        left = kill_switch.positions_at_venue(resolved, warn=warn)
        if left:
            raise CheckFailedError(f"it left {left} positions open")
        return done, left
    except KamouError as error:
        # Whatever the running system's trouble is, it must not keep positions open.
        say(f"without the running system: {error}", err=True)
    try:
        done = {"by": "flatten", **kill_switch.run(resolved, warn=warn)}
    except NotRunningError:
        raise
    except KamouError as error:
        say(f"error: {error}", err=True)
        done = {"by": "nobody"}
    try:
        return done, kill_switch.positions_at_venue(resolved, warn=warn)
    except KamouError as error:
        raise CheckFailedError(
            f"what is open is not known: {error}; look at the exchange, and repeat `kamou flatten`"
        ) from error


class Once:
    """Says each warning once on standard error."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            say(f"warning: {line}", err=True)


def _set_latch(folder: DataFolder, reason: str) -> str:
    """Hold entries first. A latch that cannot be set keeps nothing open: why, or nothing."""
    try:
        if not HaltLatch(folder.latch).set(reason, ACTOR, _now_ms()):
            say("warning: the halt latch is set; its log could not be written", err=True)
    except StoreError as error:
        say(f"error: {error}", err=True)
        return "not set"
    return ""


def _now_ms() -> int:
    from kamou.clock import SystemClock

    return SystemClock().now_ms()
