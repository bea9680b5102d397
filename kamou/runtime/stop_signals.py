"""The signals that stop a process in order."""

from __future__ import annotations

import signal


def open_stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGINT and SIGTERM, and SIGHUP unless this process was started to ignore it.

    A terminal that closes sends SIGHUP. ``nohup`` makes a process ignore it, so that it outlives
    the terminal.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
