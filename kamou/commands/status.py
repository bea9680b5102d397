"""``kamou status``: account, positions, supervision tree; once or repeatedly."""

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
@click.option("--watch", is_flag=True, help="Repeat until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    metavar="S",
    help="Seconds between two outputs of --watch.",
)
def status(
    config_path: Path | None, data_dir: Path | None, as_json: bool, watch: bool, interval: float
) -> None:
    """Show the account, positions and their stops, then the supervision tree.

    Without a run this prints the newest state in the database, with exit code 3. --watch repeats
    every 2 s (--interval) until Ctrl-C, which gives exit code 0; without a terminal the outputs
    follow each other with an empty line between them.
    """
    from kamou.commands import watch as watching
    from kamou.commands.status_sources import read_status
    from kamou.commands.status_text import full_lines

    resolved = resolve(config_path, data_dir=data_dir)
    recorded = RecordedBook()
    if watch:
        watching.watch_status(
            partial(read_status, resolved, recorded), interval_s=interval, as_json=as_json
        )
        return
    status_document = read_status(resolved, recorded)
    if as_json:
        print_json(status_document)
    elif status_document["running"] or status_document["book"] is not None:
        print_lines(full_lines(status_document, output_size()[0]))
    if not status_document["running"]:
        raise NotRunningError(str(status_document["why_not"]))
