"""``kamou run``: the trading system under its supervisor, and the public site."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kamou.commands.options import UserPath, config_option, data_dir_option, resolve
from kamou.core.kinds import RunMode
from kamou.errors import ConfigurationError
from kamou.settings.config import Resolved


@click.command()
@config_option
@data_dir_option
@click.option(
    "--days", type=int, metavar="N", help="Simulated days before the start of a new demo."
)
@click.option(
    "--no-fast-forward", is_flag=True, help="Start a new demo now, without simulated days before."
)
@click.option(
    "--replay",
    type=UserPath(exists=True, file_okay=False),
    metavar="DIR",
    help="Trade the recorded market in DIR instead of the generated one.",
)
@click.option("--port", type=int, metavar="PORT", help="Public listener (default: 8080).")
@click.option("--operator-port", type=int, metavar="PORT", help="Operator listener (8081).")
@click.option(
    "--live",
    is_flag=True,
    help="Trade with real money (not available in this release: the command ends with an error).",
)
def run(
    config_path: Path | None,
    data_dir: Path | None,
    days: int | None,
    no_fast_forward: bool,
    replay: Path | None,
    port: int | None,
    operator_port: int | None,
    live: bool,
) -> None:
    """Run the trading system and its site until a signal stops it.

    Without options this is a demo: a generated market and simulated money, without network and
    keys. Stop it with Ctrl-C, SIGTERM or SIGHUP (ignored under nohup); stops stay on the exchange.
    A later run on the same data directory continues with the same positions.
    """
    resolved = resolve(
        config_path,
        run_files=True,
        data_dir=data_dir,
        web__port=port,
        web__operator_port=operator_port,
        demo__days=days,
    )
    check_mode(resolved, live=live)
    code = _run(resolved, fast_forward=not no_fast_forward, replay=replay)
    sys.exit(code)


def check_mode(resolved: Resolved, *, live: bool) -> None:
    """Check that the mode is demo, the only mode of this release.

    Raises:
        ConfigurationError: the mode is paper or live, or --live was given.
    """
    mode, origin = resolved.settings.mode, resolved.origins["mode"]
    if mode is not RunMode.DEMO:
        raise ConfigurationError(
            f'{origin}: mode = "{mode}" needs a real venue, which this release does not have; '
            'set mode = "demo"'
        )
    if live:
        raise ConfigurationError(
            '--live needs mode = "live" in kamou.toml and a real venue, which this release does '
            "not have; leave --live out"
        )


def _run(resolved: Resolved, *, fast_forward: bool, replay: Path | None) -> int:
    from kamou.commands.run_output import RunOutput
    from kamou.data_directory.lock import DataDirectoryLock

    settings = resolved.settings
    output = RunOutput()
    with DataDirectoryLock(settings.data_dir, announce=output.write), output:
        from kamou.runs import (
            service,
        )  # imported after the lock, so that a second run fails at once

        return service.run(
            resolved,
            fast_forward=fast_forward,
            replay=replay,
            progress=output.report,
            announce=output.announce,
        )
