"""``kamou halt``, ``resume``, ``flatten``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kamou.commands.operator import Operator
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_facts
from kamou.config import Resolved
from kamou.errors import CheckFailedError, KamouError, StoreError
from kamou.folder import DataFolder
from kamou.latch import HaltLatch

ACTOR = "operator"


def reason_option(verb: Any) -> Any:
    return click.option(
        "--reason", default="", metavar="TEXT", help="Why; it is journalled and published."
    )(verb)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def halt(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Stop new risk now; stops and targets stay on the exchange."""
    resolved = resolve(config_path, data_dir=data_dir)
    operator = Operator.find(DataFolder(resolved.settings.data_dir))
    print_facts(operator.command("halt", reason or "halt by the operator"), as_json=as_json)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def resume(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Rearm after a halt. After `flatten` it takes two steps.

    The first removes the halt latch that `flatten` left, also without a running system, and
    takes a running one from FLATTEN to halted; the second lets it trade again.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    folder = DataFolder(resolved.settings.data_dir)
    latch = HaltLatch(folder.latch)
    reason = reason or "resumed by the operator"
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
    `run` respects it. `kamou resume` removes it.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    folder = DataFolder(resolved.settings.data_dir)
    reason = reason or "flatten by the operator"
    latch = _set_latch(folder, reason)
    try:
        done = {"by": "run", **Operator.find(folder).command("flatten", reason)}
        if done.get("positions_left"):
            raise CheckFailedError(f"it left {done['positions_left']} positions open")
    except KamouError as error:
        # Whatever the running system's trouble is, it must not keep positions open.
        click.echo(f"without the running system: {error}", err=True)
        done = {"by": "flatten", **_flatten(resolved)}
    print_facts({"latch": latch or "set", **done}, as_json=as_json)
    if latch:
        raise CheckFailedError(f"{latch}; repeat `kamou flatten`: a running system may enter again")
    if done.get("positions_left"):
        raise CheckFailedError(
            f"{done['positions_left']} positions are still open; repeat `kamou flatten`"
        )


def _set_latch(folder: DataFolder, reason: str) -> str:
    """Hold entries first. A latch that cannot be set keeps nothing open: why, or nothing."""
    try:
        HaltLatch(folder.latch).set(reason, ACTOR, _now_ms())
    except StoreError as error:
        click.echo(f"error: {error}", err=True)
        return "not set"
    return ""


def _flatten(resolved: Resolved) -> dict[str, Any]:
    from kamou import flatten as kill_switch

    return kill_switch.run(resolved)


def _now_ms() -> int:
    from kamou.clock import SystemClock

    return SystemClock().now_ms()
