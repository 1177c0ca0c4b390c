"""Opens the resources of a process's roles, once, and closes them."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import MappingProxyType
from typing import Any

import structlog

from workers.sdk.errors import ResourceFailed
from workers.sdk.resources import Resource
from workers.sdk.role import Role

WITHIN = 60.0
"""Seconds a resource has to open."""

NOTHING: Mapping[Resource[Any], Any] = MappingProxyType({})

_Manager = AbstractAsyncContextManager[Any] | AbstractContextManager[Any]

_log = structlog.get_logger("muster.worker")


class Resources:
    """What the handlers of one process are given. `instead`: what stands in for some of them, as in
    tests; nothing is opened or closed for it. `open` and `close` are called by one task."""

    def __init__(self, instead: Mapping[Resource[Any], Any] = NOTHING) -> None:
        self._opened: dict[Resource[Any], Any] = dict(instead)
        self._managers: list[_Manager] = []

    async def open(self, roles: Iterable[Role]) -> None:
        """Open what `roles` need, each once, after what it needs itself. Raises `ResourceFailed`
        for the first that cannot be; then those before it are closed."""
        try:
            for role in roles:
                for needed in role.resources.values():
                    await self._open(needed)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close what was opened, the last one first; one that fails keeps no other open."""
        while self._managers:
            manager = self._managers.pop()
            try:
                if isinstance(manager, AbstractAsyncContextManager):
                    await manager.__aexit__(None, None, None)
                else:
                    manager.__exit__(None, None, None)
            except Exception:  # noqa: BLE001 - the process ends; nobody can do anything about it
                _log.exception("could not close a resource")

    def of(self, role: Role) -> Mapping[str, Any]:
        """What the handler of `role` is given, by parameter."""
        return {name: self._opened[needed] for name, needed in role.resources.items()}

    async def _open(self, wanted: Resource[Any]) -> None:
        if wanted in self._opened:
            return
        for needed in wanted.needs.values():
            await self._open(needed)
        given = {name: self._opened[needed] for name, needed in wanted.needs.items()}
        try:
            async with asyncio.timeout(WITHIN):
                self._opened[wanted] = await self._enter(wanted, given)
        except (Exception, SystemExit) as error:
            raise _failed(wanted, error) from error

    async def _enter(self, wanted: Resource[Any], given: Mapping[str, Any]) -> Any:
        manager = wanted.manager(given)
        if isinstance(manager, AbstractAsyncContextManager):
            opened = await manager.__aenter__()
        else:
            opened = manager.__enter__()
        self._managers.append(manager)
        return opened


def _failed(wanted: Resource[Any], error: BaseException) -> ResourceFailed:
    late = f"it took longer than {WITHIN:g} s"
    why = late if isinstance(error, TimeoutError) and not str(error) else str(error)
    return ResourceFailed(
        f"resource {wanted.name!r} cannot be opened",
        details=f"{wanted.file}:{wanted.line}: {type(error).__name__}: {why}",
        actions=("see that what it connects to is there", "or correct the function"),
    )
