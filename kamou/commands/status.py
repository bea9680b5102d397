"""``kamou status``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import (
    output_size,
    print_json,
    print_lines,
)
from kamou.errors import NotRunningError
from kamou.runs.recorded_book import RecordedBook


@click.command()
@config_option
@data_dir_option
@json_option
@click.option("--watch", is_flag=True, help="Repeat until interrupted.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    metavar="S",
    help="Seconds between two looks of --watch.",
)
def status(
    config_path: Path | None, data_dir: Path | None, as_json: bool, watch: bool, interval: float
) -> None:
    """Show the account, positions and their stops, then the supervision tree.

    Exit code 3 without a run; the newest state in the database is printed all the same. With
    --watch it repeats every 2 s (--interval) until Ctrl-C, which gives exit code 0; without a
    terminal the outputs follow each other with an empty line between them.
    """
    from kamou.commands import watch as watching
    from kamou.commands.status_sources import read_status
    from kamou.commands.status_text import whole

    resolved = resolve(config_path, data_dir=data_dir)
    recorded = RecordedBook()
    if watch:
        watching.watch(
            partial(read_status, resolved, recorded), interval_s=interval, as_json=as_json
        )
        return
    seen = read_status(resolved, recorded)
    if as_json:
        print_json(seen)
    elif seen["running"] or seen["book"] is not None:
        print_lines(whole(seen, output_size()[0]))
    if not seen["running"]:
        raise NotRunningError(str(seen["why_not"]))
