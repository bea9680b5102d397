"""``kamou status`` and ``kamou why``."""

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
@click.option("--watch", is_flag=True, help="Look again until interrupted.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, metavar="S", help="For --watch."
)
def status(
    config_path: Path | None, data_dir: Path | None, as_json: bool, watch: bool, interval: float
) -> None:
    """Show the account, positions and their stops, then the supervision tree.

    Exit code 3 when nothing runs; what the database last said is printed all the same. With
    --watch it looks every 2 s (--interval) and Ctrl-C ends it with exit code 0; where standard
    output is no terminal the looks follow each other, an empty line between them.
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
