"""Service roles: processes of a fleet that run no handler."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from contracts.topics import RECORDER, SCHEDULER
from workers.fleet.supervised import Ready
from workers.history.address import kept
from workers.sdk.errors import RoleError
from workers.settings import Loaded

Service: TypeAlias = Callable[[Loaded, Ready], Coroutine[Any, Any, None]]


async def _record(loaded: Loaded, ready: Ready) -> None:
    from workers.history.serving import record

    await record(loaded, ready)


async def _schedule(loaded: Loaded, ready: Ready) -> None:
    from workers.scheduling import schedule

    await schedule(loaded, ready)


SERVICES: Mapping[str, Service] = MappingProxyType({RECORDER: _record, SCHEDULER: _schedule})
"""What `muster work NAME` runs instead of a role. What each needs is imported when it is run: a
worker of a role has no use for it, and starts sooner without."""


def named(names: Sequence[str]) -> Service | None:
    """The service asked for, None if roles are. Raises `RoleError` for both at once."""
    found = [name for name in names if name in SERVICES]
    if found and len(names) > 1:
        raise RoleError(
            f"{found[0]} is a service and runs in a process of its own",
            details=f"asked for together with {', '.join(n for n in names if n != found[0])}",
            actions=(f"start it beside them: `muster work {found[0]}`",),
        )
    return SERVICES[found[0]] if found else None


def wanted(loaded: Loaded, roles: Collection[str]) -> list[str]:
    """The services that `muster up` keeps alive. Raises `RoleError` where a role has the name of
    one."""
    taken = sorted(SERVICES.keys() & set(roles))
    if taken:
        raise RoleError(
            f"no role can be called {taken[0]!r}",
            details="it is the name of a service",
            actions=("give the role another name",),
        )
    return list(SERVICES) if kept(loaded) else []
