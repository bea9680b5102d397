"""``kamou halt``, ``resume``, ``flatten``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kamou.commands.lenient_settings import resolve_what_holds
from kamou.commands.operator import OperatorClient
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_facts, print_json, say, say_error
from kamou.core.codes import describe_cause
from kamou.core.model import HALT_STATES
from kamou.core.words import count_words, describe_state, strategy_name
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HALT, HaltLatch
from kamou.data_directory.lock import lock_holder
from kamou.errors import (
    CheckFailedError,
    KamouError,
    NothingTradesError,
    NotRunningError,
    StoreError,
)
from kamou.operator.reason import REASON_CHARS_MAX, describe_excess, shorten_reason
from kamou.settings.config import Resolved

ACTOR = "operator"
RESUME_LATER = "a run that starts now is halted; `kamou resume` lets it trade once it is ready"


def reason_option(verb: Any) -> Any:
    return click.option(
        "--reason",
        default="",
        metavar="TEXT",
        help=f"Why, in at most {REASON_CHARS_MAX} characters. It is published on the results page.",
    )(verb)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def halt(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Stop new risk now; stops and targets stay on the exchange.

    If no run answers, or it is still starting, this sets the halt latch: no entry passes, and a
    run that starts is halted. `kamou resume` ends both. A reason that is too long is shortened.

    Exit code 6: entries are held by the run that is alive, and the halt is not journalled yet.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    folder = DataDirectory(resolved.settings.data_dir)
    reason = _published(reason)
    try:
        told = OperatorClient.find(folder).command("halt", reason)
    except KamouError as error:
        _hold(folder, reason, error, as_json=as_json)
        return
    _print(told, as_json=as_json)
    if not told.get("journalled", True):
        raise CheckFailedError(
            f"the halt is not journalled yet, the state is still {told['state']}: this run holds "
            "entries meanwhile, and a later one would not; free space on the disk, then look at "
            "`kamou status`; `kamou flatten` sets the halt latch"
        )


def _hold(folder: DataDirectory, reason: str, error: KamouError, *, as_json: bool) -> None:
    """Set the halt latch, because no run took the halt. A run that trades or starts respects it.

    Raises:
        KamouError: there is no data directory in which anything could start; or the latch cannot be
            set and nothing is held; or a run is there and did not confirm the halt, which the
            latch holds all the same.
    """
    if not folder.path.is_dir():
        raise error
    try:
        HaltLatch(folder.latch).set(reason, ACTOR, _now_ms(), action=HALT)
    except StoreError as unset:
        raise type(error)(f"{error}; nothing is held", str(unset)) from unset
    if not isinstance(error, NothingTradesError):
        raise type(error)(f"{error}; the halt latch is set: no entry passes until `kamou resume`")
    say(f"without the running system: {error}", err=True)
    held = {"latch": "set", "entries": "held", "next": "`kamou resume` removes the latch"}
    _print(held, as_json=as_json)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def resume(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Resume trading after a halt. After `flatten` it takes two steps.

    The first removes the halt latch that `flatten` left, also without a running system, and
    takes FLATTENING to halted; the second lets a running system trade again. If nothing runs, the
    next run starts halted and waits for the second. A reason that is too long is refused.

    Exit code 6: the run refused the resume, and the trading state stays as it was.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    folder = DataDirectory(resolved.settings.data_dir)
    latch = HaltLatch(folder.latch)
    reason = reason.strip()
    if excess := describe_excess(reason):
        raise click.UsageError(excess, click.get_current_context())
    lock_holder(folder.path)  # another user is told so: a latch that cannot be seen counts as set
    if not latch.is_set():
        _tell_resume(dict(OperatorClient.find(folder).command("resume", reason)), as_json=as_json)
        return
    latch.clear(reason, ACTOR, _now_ms())
    done: dict[str, Any] = {"latch": "removed"}
    try:
        done |= OperatorClient.find(folder).command("resume", reason)
        if done.get("state") in HALT_STATES:
            done["next"] = "`kamou resume` again lets it trade"
    except KamouError as error:
        done |= {"system": str(error), "next": RESUME_LATER}
    _tell_resume(done, as_json=as_json)


def _tell_resume(done: dict[str, Any], *, as_json: bool) -> None:
    """Print what a resume did.

    Raises:
        CheckFailedError: the run refused it.
    """
    refusal = done.get("refused")
    if as_json or not refusal or "latch" in done:
        _print(done, as_json=as_json)
    if refusal:
        state = describe_state(str(done.get("state")))
        raise CheckFailedError(
            f"the resume was refused, because {refusal}; the trading state stays {state}"
        )


def _print(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the facts of a command: for a person, codes and names are words."""
    if as_json:
        print_json(facts)
        return
    said = {name.replace("_", " "): value for name, value in facts.items()}
    if "state" in said:
        said["state"] = describe_state(str(said["state"]), holding=facts.get("positions_left") != 0)
    if said.get("reason"):
        said["reason"] = describe_cause(str(said["reason"]))
    if "disabled strategies" in said:
        said["disabled strategies"] = ", ".join(map(strategy_name, said["disabled strategies"]))
    words = {True: "yes", False: "no"}
    print_facts({n: words[v] if isinstance(v, bool) else v for n, v in said.items()})


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def flatten(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Cancel entries and close everything, also when `run` is dead or hangs.

    First of all it sets the halt latch: while that file is there no entry passes, and a later
    `run` respects it. `kamou resume` removes it. The positions that are left are counted at the
    exchange, also those that another process closed. A reason that is too long is shortened.
    """
    reason = _published(reason)
    warn = Once()
    latch = "" if data_dir is None else _set_latch(DataDirectory(data_dir), reason)
    resolved = resolve_what_holds(config_path, warn, data_dir=data_dir)
    folder = DataDirectory(resolved.settings.data_dir)
    if data_dir is None:
        latch = _set_latch(folder, reason)
    try:
        folder.create(say_error)
    except StoreError as error:
        warn(str(error))  # closing goes before closing the folder
    done, left = _close_all(resolved, reason, warn)
    _print({"latch": latch or "set", **done, "positions_left": left}, as_json=as_json)
    if latch:
        raise CheckFailedError(f"{latch}; repeat `kamou flatten`: a running system may enter again")
    if left:
        positions = count_words(left, "position is", "positions are")
        raise CheckFailedError(f"{positions} still open; repeat `kamou flatten`")
    if entries := done.get("entries_left"):
        raise CheckFailedError(
            f"{count_words(entries, 'entry rests', 'entries rest')} still; repeat `kamou flatten`"
        )


def _close_all(resolved: Resolved, reason: str, warn: Once) -> tuple[dict[str, Any], int]:
    """Have everything closed, by the run or without it: what was done, and positions left.

    Raises:
        NotRunningError: there is nothing that could be open.
        CheckFailedError: the venue's file cannot be read, so what is open is not known.
    """
    from kamou.runs import flatten as kill_switch

    try:
        found = OperatorClient.find(DataDirectory(resolved.settings.data_dir))
        done = {"by": "run", **found.command("flatten", reason)}
        left = kill_switch.positions_at_venue(resolved, warn=warn)
        if left:
            raise CheckFailedError(f"it left {count_words(left, 'position')} open")
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


def _set_latch(folder: DataDirectory, reason: str) -> str:
    """Hold entries first. A latch that cannot be set keeps nothing open: why, or nothing.

    Raises:
        NotRunningError: there is no such directory. A name that was mistyped is not made.
    """
    if not os.path.lexists(folder.path):
        raise NotRunningError(
            f"there is no data directory {folder.path}: nothing is open there; name the one that "
            "`kamou run` uses with --data-dir"
        )
    try:
        if not HaltLatch(folder.latch).set(reason, ACTOR, _now_ms()):
            say("warning: the halt latch is set; its log could not be written", err=True)
    except StoreError as error:
        say(f"error: {error}", err=True)
        return "not set"
    return ""


def _published(reason: str) -> str:
    """The reason as it is published; a warning is printed if that is not all of it."""
    shown, warning = shorten_reason(reason.strip())
    if warning:
        say(f"warning: {warning}", err=True)
    return shown


def _now_ms() -> int:
    from kamou.clock import SystemClock

    return SystemClock().now_ms()
