"""``kamou halt``, ``resume`` and ``flatten``, each with and without a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kamou.commands.lenient_settings import resolve_valid_settings
from kamou.commands.operator import OperatorClient
from kamou.commands.options import Verb, config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_error_line, print_facts, print_json, print_line
from kamou.core.model import HALT_STATES
from kamou.core.words import count_words, describe_cause, describe_state, strategy_name
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch, LatchAction
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
RESUME_LATER = "repeat `kamou resume` once a run answers; a run that starts before that is halted"


def reason_option(verb: Verb) -> Verb:
    """Add ``--reason TEXT``."""
    return click.option(
        "--reason",
        default="",
        metavar="TEXT",
        help=f"The reason, at most {REASON_CHARS_MAX} characters; published on the results page.",
    )(verb)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def halt(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Stop new entries now; stops and take-profits stay on the exchange.

    If no run answers, or the run does not trade yet or is stopping, this sets the halt latch:
    entries are denied, and the next run starts halted. `kamou resume` ends both. A reason that is
    too long is shortened.

    Exit code 6: the run blocks entries, but the halt is not journalled yet.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    directory = DataDirectory(resolved.settings.data_dir)
    reason = _shorten(reason)
    try:
        answer = OperatorClient.find(directory).command("halt", reason)
    except KamouError as error:
        _hold_by_latch(directory, reason, error, as_json=as_json)
        return
    _print_response(answer, as_json=as_json)
    if not answer.get("journalled", True):
        raise CheckFailedError(
            f"the halt is not journalled yet; the trading state is still {answer['state']}: this "
            "run blocks entries, but the next run would not; free space on the disk and check "
            "`kamou status`, or close all positions and set the halt latch with `kamou flatten`"
        )


def _hold_by_latch(
    directory: DataDirectory, reason: str, error: KamouError, *, as_json: bool
) -> None:
    """Set the halt latch, because no run confirmed the halt, and print the result.

    Raises:
        KamouError: the data directory does not exist; or the latch cannot be set, so entries are
            not blocked; or a run did not confirm the halt, and only the latch blocks entries.
    """
    if not directory.path.is_dir():
        raise error
    try:
        HaltLatch(directory.latch).set(reason, ACTOR, _now_ms(), action=LatchAction.HALT)
    except StoreError as unset:
        raise type(error)(f"{error}; entries are not blocked", str(unset)) from unset
    if not isinstance(error, NothingTradesError):
        raise type(error)(
            f"{error}; the halt latch is set: entries are denied until `kamou resume`"
        )
    print_line(f"the halt latch is set without the run, because {error}", err=True)
    held = {"latch": "set", "entries": "held", "next": "`kamou resume` removes the latch"}
    _print_response(held, as_json=as_json)


@click.command()
@config_option
@data_dir_option
@json_option
@reason_option
def resume(config_path: Path | None, data_dir: Path | None, as_json: bool, reason: str) -> None:
    """Resume trading after a halt; after `flatten` this takes two steps.

    The first `kamou resume` removes the halt latch that `flatten` set, with or without a run, and
    changes the trading state flattening to reduce_only. The second lets the run trade again.
    Without a run, the next run starts halted and waits for the second. If a resume allows entries,
    disabled strategies may enter again, too. A reason that is too long is an error.

    Exit code 6: the run denied the resume, and the trading state did not change.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    directory = DataDirectory(resolved.settings.data_dir)
    latch = HaltLatch(directory.latch)
    reason = reason.strip()
    if excess := describe_excess(reason):
        raise click.UsageError(excess, click.get_current_context())
    lock_holder(directory.path)  # fails for another user, who would see every latch as set
    if not latch.is_set():
        _print_resume(
            dict(OperatorClient.find(directory).command("resume", reason)), as_json=as_json
        )
        return
    latch.clear(reason, ACTOR, _now_ms())
    done: dict[str, object] = {"latch": "removed"}
    try:
        done |= OperatorClient.find(directory).command("resume", reason)
        if done.get("state") in HALT_STATES:
            done["next"] = "repeat `kamou resume` to let the run trade"
    except KamouError as error:
        done |= {"system": str(error), "next": RESUME_LATER}
    _print_resume(done, as_json=as_json)


def _print_resume(done: Mapping[str, object], *, as_json: bool) -> None:
    """Print the result of a resume; a denial only with --json or a removed latch.

    Raises:
        CheckFailedError: the run denied the resume.
    """
    refusal = done.get("refused")
    if as_json or not refusal or "latch" in done:
        _print_response(done, as_json=as_json)
    if refusal:
        state = describe_state(str(done.get("state")))
        raise CheckFailedError(
            f"the run denied the resume: {refusal}; the trading state stays {state}"
        )


def _print_response(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a command's result as JSON, or as a table with its codes in words."""
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
    """Cancel entries and close all positions, with or without a run that answers.

    This first sets the halt latch, a file that blocks entries of this run and of later runs;
    `kamou resume` removes it. At the end the open positions are counted at the exchange. A reason
    that is too long is shortened.

    Exit code 6: a position or an entry is left, the latch was not set, or positions are unknown.
    """
    reason = _shorten(reason)
    warn = WarnOnce()
    latch = "" if data_dir is None else _set_latch(DataDirectory(data_dir), reason)
    resolved = resolve_valid_settings(config_path, warn, data_dir=data_dir)
    directory = DataDirectory(resolved.settings.data_dir)
    if data_dir is None:
        latch = _set_latch(directory, reason)
    try:
        directory.create(print_error_line)
    except StoreError as error:
        warn(str(error))  # positions are closed even if other users can still read the directory
    done, left = _close_all(resolved, reason, warn)
    _print_response({"latch": latch or "set", **done, "positions_left": left}, as_json=as_json)
    if latch:
        raise CheckFailedError(
            f"the halt latch is {latch}, so a run may enter again; repeat `kamou flatten`"
        )
    if left:
        positions = count_words(left, "position is", "positions are")
        raise CheckFailedError(f"{positions} still open; repeat `kamou flatten`")
    entries = done.get("entries_left")
    if isinstance(entries, int) and entries:
        raise CheckFailedError(
            f"{count_words(entries, 'entry still rests', 'entries still rest')}; "
            "repeat `kamou flatten`"
        )


def _close_all(resolved: Resolved, reason: str, warn: WarnOnce) -> tuple[Mapping[str, object], int]:
    """Close all positions; return the result and the number of positions left.

    Raises:
        NotRunningError: the data directory has no exchange file, or no run has traded on it, so no
            position is open.
        CheckFailedError: the positions at the venue cannot be counted, so they are unknown.
    """
    from kamou.runs import flatten as kill_switch

    try:
        found = OperatorClient.find(DataDirectory(resolved.settings.data_dir))
        done = {"by": "run", **found.command("flatten", reason)}
        left = kill_switch.count_venue_positions(resolved, warn=warn)
        if left:
            raise CheckFailedError(f"the run left {count_words(left, 'position')} open")
        return done, left
    except KamouError as error:
        # Positions are closed whatever failed in the run.
        print_line(f"flattening without the run, because {error}", err=True)
    try:
        done = {"by": "flatten", **kill_switch.run(resolved, warn=warn)}
    except NotRunningError:
        raise
    except KamouError as error:
        print_line(f"error: {error}", err=True)
        done = {"by": "nobody"}
    try:
        return done, kill_switch.count_venue_positions(resolved, warn=warn)
    except KamouError as error:
        raise CheckFailedError(
            f"the open positions are unknown: {error}; "
            "check the exchange and repeat `kamou flatten`"
        ) from error


class WarnOnce:
    """Printer of warnings on standard error that prints each text once."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, line: str) -> None:
        if line not in self._printed:
            self._printed.add(line)
            print_line(f"warning: {line}", err=True)


def _set_latch(directory: DataDirectory, reason: str) -> str:
    """Set the halt latch; return an empty text, or "not set" if that failed.

    A failure is printed and not raised, because positions are closed all the same.

    Raises:
        NotRunningError: the data directory does not exist; a mistyped one is not created.
    """
    if not os.path.lexists(directory.path):
        raise NotRunningError(
            f"the data directory {directory.path} does not exist, so no position is open there; "
            "name the one that `kamou run` uses with --data-dir"
        )
    try:
        if not HaltLatch(directory.latch).set(reason, ACTOR, _now_ms()):
            print_line(
                f"warning: the halt latch is set, but its log {directory.latch}.log could not be "
                "written; check the space on the disk and the permissions of the file",
                err=True,
            )
    except StoreError as error:
        print_line(f"error: {error}", err=True)
        return "not set"
    return ""


def _shorten(reason: str) -> str:
    """Return the published part of the reason; print a warning if it was shortened."""
    shown, warning = shorten_reason(reason.strip())
    if warning:
        print_line(f"warning: {warning}", err=True)
    return shown


def _now_ms() -> int:
    from kamou.clock import SystemClock

    return SystemClock().now_ms()
