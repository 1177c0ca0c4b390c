"""Limits and quotas as the settings say."""

from collections.abc import Mapping
from dataclasses import replace

from contracts.limits import Limit, Rate, parse_rate
from workers.role_settings import RoleSettings
from workers.sdk.role import Role
from workers.settings import Settings


def limited(role: Role, settings: RoleSettings) -> Role:
    """`role` with the limits of its settings in place of its own limits of the same kind."""
    own = [limit for limit in role.limits if limit.by == "role"]
    rates = [Limit(rate=o.rate, burst=o.burst) for o in own if o.rate is not None]
    running = [Limit(concurrency=o.concurrency) for o in own if o.concurrency is not None]
    if settings.rate is not None:
        rates = [Limit(rate=settings.rate, burst=settings.burst or 1)]
    if settings.max_running is not None:
        running = [Limit(concurrency=settings.max_running)]
    others = [limit for limit in role.limits if limit.by != "role"]
    return replace(role, limits=(*others, *rates, *running))


def tenants(settings: Settings) -> Mapping[str, Limit]:
    """What each tenant may over all roles."""
    return {
        name: Limit(rate=t.rate, burst=t.burst or 1, concurrency=t.concurrency)
        for name, t in settings.limits.tenants.items()
        if t.rate is not None or t.concurrency is not None
    }


def quotas(settings: Settings) -> Mapping[str, Rate]:
    """What each tenant may publish."""
    found = settings.limits.tenants.items()
    return {name: parse_rate(t.quota) for name, t in found if t.quota is not None}
