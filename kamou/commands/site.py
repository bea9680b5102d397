"""``kamou site``: the public pages without a run, from a database or a backup."""

from __future__ import annotations

from pathlib import Path

import click

from kamou.commands.options import (
    check_one_source,
    config_option,
    data_dir_option,
    database_option,
    resolve,
)
from kamou.commands.printing import print_error_line
from kamou.data_directory.folder import DataDirectory
from kamou.settings.config import Settings


@click.command()
@config_option
@data_dir_option
@database_option
@click.option("--host", metavar="ADDRESS", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", type=int, metavar="PORT", help="Port to listen on (default: 8080).")
def site(
    config_path: Path | None,
    data_dir: Path | None,
    database: Path | None,
    host: str | None,
    port: int | None,
) -> None:
    """Serve the public pages without a run, until a signal stops it.

    This only reads the database and takes no lock, so it works during a run, after a run, with a
    backup on another machine, or with the kept journal of a backtest. Mode, currency and gate are
    those of the newest run in the journal. Stop it with Ctrl-C, SIGTERM or SIGHUP (ignored under
    nohup).
    """
    check_one_source(database, data_dir)
    resolved = resolve(config_path, data_dir=data_dir, web__host=host, web__port=port)
    settings = resolved.settings
    _serve(settings, database or DataDirectory(settings.data_dir).database)


def _serve(settings: Settings, database: Path) -> None:
    from kamou.site.child import public_listener
    from kamou.site.process_protocol import read_pricing
    from kamou.web.site import Site
    from kamou.web.standalone import serve_alone

    web = settings.web
    serve_alone(
        database,
        Site(
            mode=settings.mode,
            currency=settings.currency,
            assumed_live=True,  # if the journal has no gate; this release has no other
            pricing_markdown=read_pricing(web.pricing_file),
            public_url=settings.site.public_url,
        ),
        public_listener(settings),
        render_max_s=web.site_render_max_s,
        announce=print_error_line,
    )
