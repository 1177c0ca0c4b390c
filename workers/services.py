"""Service roles: processes of a fleet that run no handler."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeAlias

from contracts.topics import RECORDER, SCHEDULER
from workers.fleet.supervised import Ready
from workers.history.address import kept
from workers.sdk.errors import RoleError
from workers.settings import Loaded

Service: TypeAlias = Callable[[Loaded, Ready], Coroutine[Any, Any, None]]

SERVICES: Mapping[str, str] = MappingProxyType(
    {RECORDER: "workers.history.serving:record", SCHEDULER: "workers.scheduling:schedule"}
)
"""What `muster work NAME` runs instead of a role, and where that is: a worker of a role has no use
for what records and schedules, and starts sooner without."""


def named(names: Sequence[str]) -> Service | None:
    """The service asked for, None if roles are. Raises `RoleError` for both at once."""
    found = [name for name in names if name in SERVICES]
    if found and len(names) > 1:
        raise RoleError(
            f"{found[0]} is a service and runs in a process of its own",
            details=f"asked for together with {', '.join(n for n in names if n != found[0])}",
            actions=(f"start it beside them: `muster work {found[0]}`",),
        )
    if not found:
        return None
    module, _, attribute = SERVICES[found[0]].partition(":")
    service: Service = getattr(import_module(module), attribute)
    return service


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
