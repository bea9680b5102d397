"""Specifications of supervised actors and of their supervisors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.supervision import ChildSpec, Restart, RestartStrategy, SupervisorSpec
from kamou.settings.config import SupervisionSettings


def supervise(
    name: str,
    strategy: RestartStrategy,
    children: tuple[ChildSpec, ...],
    settings: SupervisionSettings,
) -> SupervisorSpec:
    """Return a supervisor of these children with the limits and waits of the settings."""
    return SupervisorSpec(
        id=name,
        children=children,
        strategy=strategy,
        intensity=settings.intensity,
        period_s=settings.period_s,
        backoff_base_s=settings.backoff_base_ms / 1000,
        backoff_cap_s=settings.backoff_cap_ms / 1000,
        backoff_reset_s=settings.backoff_reset_s,
    )


def make_child(
    inbox: Mailbox[Any], make: Callable[[], Any], settings: SupervisionSettings
) -> ChildSpec:
    """Return a permanent child: each incarnation is a new actor on the same mailbox."""

    async def start(task_status: trio.TaskStatus[None]) -> None:
        await make().run(task_status)

    return ChildSpec(
        id=inbox.name,
        start=start,
        restart=Restart.PERMANENT,
        shutdown_s=float(settings.grace_s),
        stop=inbox.ask_to_stop,
        mailboxes=(inbox,),
    )
