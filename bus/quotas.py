"""Quotas of tenants: how many tasks they may publish in a window of time."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import floor
from types import MappingProxyType

from pydantic_core import from_json, to_json

from bus.errors import BusError, QuotaExceeded, TooLarge, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, Absent, KeyValue, Revision
from bus.patience import contested
from bus.scopes import EVERYONE
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.limits import Rate

NO_QUOTAS: Mapping[str, Rate] = MappingProxyType({})


class Quotas:
    """Counts what tenants publish, in windows that begin with the epoch: a day is a day in UTC.

    The count of a tenant is one entry, changed by compare-and-set before anything is sent. All
    publishers have to know of the quota: it binds those that count.
    """

    def __init__(
        self,
        store: KeyValue,
        clock: Clock,
        rng: random.Random,
        by_tenant: Mapping[str, Rate] = NO_QUOTAS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._by_tenant = by_tenant

    @asynccontextmanager
    async def counted(self, tasks: Sequence[Envelope]) -> AsyncIterator[set[str]]:
        """Count `tasks` while they are sent in this block: all of them, or `QuotaExceeded` and
        none. What the block refuses before it sends anything (`Unroutable`, `TooLarge`), and the
        ids it adds to the set, do not count."""
        unsent: set[str] = set()
        if not self._by_tenant:
            yield unsent
            return
        windows: dict[str, float] = {}
        try:
            for tenant, count in Counter(task.tenant for task in tasks).items():
                await self._count(tenant, count, windows)
            yield unsent
        except (Unroutable, TooLarge, QuotaExceeded):
            unsent = {task.id for task in tasks}
            raise
        finally:
            back = Counter(task.tenant for task in tasks if task.id in unsent)
            for tenant in windows.keys() & back.keys():
                with suppress(BusError):  # they stay counted: nothing is ever exceeded
                    await self._count(tenant, -back[tenant], windows)

    async def _count(self, tenant: str, count: int, windows: dict[str, float]) -> None:
        quota = self._by_tenant.get(tenant) or self._by_tenant.get(EVERYONE)
        if quota is not None:
            only = windows.get(tenant)
            windows[tenant] = await self._add(tenant, quota, count, only=only)

    async def _add(
        self, tenant: str, quota: Rate, count: int, *, only: float | None = None
    ) -> float:
        """Change the count of the present window; its start. With `only`, no other window's."""
        attempt = partial(self._try, tenant, quota, count, only)
        return await contested(attempt, self._clock, self._rng)

    async def _try(self, tenant: str, quota: Rate, count: int, only: float | None) -> float:
        now, key = self._clock.wall(), keys.quota(tenant)
        start = floor(now / quota.seconds) * quota.seconds
        entry = await self._store.get(key)
        window = from_json(entry.value) if entry else {}
        used = int(window.get("used", 0)) if window.get("start") == start else 0
        if only not in {None, start}:
            return start
        if count > 0 and used + count > quota.count:
            raise _exceeded(tenant, quota, used, count, start + quota.seconds - now)
        value = to_json({"start": start, "used": max(0, used + count)})
        expect: Revision | Absent = entry.revision if entry else ABSENT
        await self._store.put(key, value, ttl=2 * quota.seconds, expect=expect)
        return start


def _exceeded(tenant: str, quota: Rate, used: int, count: int, left: float) -> QuotaExceeded:
    fits = count <= quota.count
    return QuotaExceeded(
        f"the quota of tenant {tenant!r} does not allow {count:,} more",
        details=f"{used:,} of {quota.count:,} in {quota.seconds:g} s are used; nothing was sent",
        actions=(
            f"publish again in {left:.0f} s" if fits else "publish fewer at a time",
            f"or raise limits.tenants.{tenant}.quota",
        ),
        retry_after=left,
    )
