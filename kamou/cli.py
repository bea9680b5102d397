"""The command line: its verbs, and their exit codes and error lines."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from types import TracebackType

import click

import kamou
from kamou.commands import (
    backtest,
    compare,
    configuration,
    control,
    data,
    database,
    gate,
    gate_explain,
    gate_power,
    gate_vetoes,
    refiner,
    report,
    run,
    simulate,
    site,
    status,
    strategy,
    why,
)
from kamou.commands.printing import QUOTED, Output, print_error_line, print_json
from kamou.commands.verb_failures import describe_defect, describe_failure, wants_json
from kamou.data_directory.private_files import OTHERS

VERBS: tuple[click.Command, ...] = (
    run.run,
    site.site,
    configuration.init,
    configuration.check_config,
    configuration.show_config,
    status.status,
    why.why,
    control.halt,
    control.resume,
    control.flatten,
    backtest.backtest,
    compare.compare,
    gate.gate,
    refiner.refiner,
    simulate.simulate,
    data.data,
    strategy.strategy,
    report.report,
    database.db,
)


class OrderedGroup(click.Group):
    """A group that lists its verbs as in ``VERBS``, each with its first sentence."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        paragraph = inspect.cleandoc(cmd.help or "").partition("\n\n")[0]
        cmd.short_help = paragraph.replace("\n", " ").partition(". ")[0].rstrip(".")
        super().add_command(cmd, name)


@click.group(cls=OrderedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kamou.__version__, prog_name="kamou")
def kamou_command() -> None:
    """Trade perpetual futures with simulated money and publish every result.

    Exit codes: 0 ok, 1 error, 2 usage, 3 not running, 4 configuration, 5 timeout, 6 a check
    failed. Not financial advice; no promise of profit.
    """


gate.gate.add_command(gate_explain.explain)
gate.gate.add_command(gate_power.power)
gate.gate.add_command(gate_vetoes.vetoes)

for verb in VERBS:
    kamou_command.add_command(verb)


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and exit with its exit code.

    ``arguments`` are those of the command line; None: ``sys.argv``. The code is 0 if the process
    that reads the output has ended. Set the umask and the hook that prints an unexpected error;
    such an error is raised.
    """
    os.umask(OTHERS)  # files of verbs and of libraries contain positions and keys
    sys.excepthook = print_defect
    try:
        code = _run_verb(arguments)
    except BrokenPipeError:
        # The process that reads the output ended (`kamou status | head`), which is no error.
        # Without a stdout the interpreter does not fail when it flushes at exit.
        sys.stdout = None
        code = 0
    sys.exit(code)


def _run_verb(arguments: list[str] | None) -> int:
    """Run one verb and return its exit code; print the lines of a failure.

    With --json, print the failure as JSON too, unless the verb has begun to print a document. An
    unexpected error or a ``BrokenPipeError`` is raised.
    """
    output = Output()
    as_json = wants_json(sys.argv[1:] if arguments is None else arguments)
    try:
        code = kamou_command.main(arguments, prog_name="kamou", standalone_mode=False, obj=output)
        return int(code or 0)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        found = describe_failure(error)
        if as_json and not output.begun:
            print_json((found or describe_defect(error)).document)
        if found is None:
            raise
    for line in found.lines:
        print_error_line(line)
    return found.exit_code


def print_defect(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of an unexpected error, each line escaped, after a bar.

    An exception's text may come from outside; the bar distinguishes it from Kamou's own lines.
    """
    for part in traceback.format_exception(kind, error, trace):
        for line in part.splitlines():
            print_error_line(f"{QUOTED}{line}")
