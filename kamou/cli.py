"""The command line: parse, call, print. The one place that turns an error into an exit code."""

from __future__ import annotations

import inspect
import sys

import click

import kamou
from kamou.commands import (
    backtest,
    configuration,
    control,
    data,
    database,
    report,
    run,
    simulate,
    status,
)
from kamou.errors import KamouError

EXIT_INTERRUPTED = 130  # the shell's own convention: 128 + SIGINT

VERBS: tuple[click.Command, ...] = (
    run.run,
    configuration.init,
    configuration.check_config,
    configuration.show_config,
    status.status,
    status.why,
    control.halt,
    control.resume,
    control.flatten,
    backtest.backtest,
    simulate.simulate,
    data.data,
    report.report,
    database.db,
)


class InOrder(click.Group):
    """Lists its verbs in the order they were added, each with its first sentence uncut."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        paragraph = inspect.cleandoc(cmd.help or "").partition("\n\n")[0]
        cmd.short_help = paragraph.replace("\n", " ").partition(". ")[0].rstrip(".")
        super().add_command(cmd, name)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kamou.__version__, prog_name="kamou")
def kamou_command() -> None:
    """Trade perpetual futures on paper, under a supervisor, and publish every result.

    Exit codes: 0 ok, 1 error, 2 usage, 3 not running, 4 configuration, 5 timeout, 6 a check
    failed. Not financial advice; no promise of profit.
    """


for verb in VERBS:
    kamou_command.add_command(verb)


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and exit with its code."""
    try:
        code = kamou_command.main(arguments, prog_name="kamou", standalone_mode=False)
    except KamouError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`kamou trades | head`); nothing is wrong. Point stdout
        # elsewhere so that the interpreter does not complain while it flushes at exit.
        sys.stdout = None
        code = 0
    sys.exit(code)
