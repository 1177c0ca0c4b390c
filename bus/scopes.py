"""Which limits hold for a task, narrowest first. Pure."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from bus.buckets import Bucket
from contracts.envelope import Envelope
from contracts.limits import NO_LIMITS, Limit, parse_rate

EVERYONE = "*"
"""The tenant whose limits hold for each tenant that has none of its own."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What shares one limit. `name`: words that tell it from every other in the fleet."""

    name: tuple[str, ...]
    bucket: Bucket | None
    places: int | None


@dataclass(frozen=True, slots=True)
class _Rule:
    name: tuple[str, ...]
    bucket: Bucket | None
    limit: Limit

    def scope(self, *share: str) -> Scope:
        return Scope((*self.name, *share), self.bucket, self.limit.concurrency)


class Scopes:
    """The limits of one role and of tenants over all roles."""

    def __init__(
        self, role: str, limits: Sequence[Limit] = (), tenants: Mapping[str, Limit] = NO_LIMITS
    ) -> None:
        found = [_rule(("role", role, word), limit) for word, limit in _numbered(limits)]
        self._fields = [rule for rule in found if rule.limit.path]
        self._tenant = [rule for rule in found if rule.limit.by == "tenant"]
        self._role = [rule.scope() for rule in found if rule.limit.by == "role"]
        self._tenants = {name: _rule(("tenant",), limit) for name, limit in tenants.items()}

    def __bool__(self) -> bool:
        """Whether there is any limit at all."""
        return bool(self._fields or self._tenant or self._role or self._tenants)

    def of(self, task: Envelope) -> list[Scope]:
        """Those that hold for `task`: by a field of its payload, by tenant, by role, and what its
        tenant may over all roles. In this order nobody holds a place that many want while it waits
        for one that few want, and no two tasks wait for each other."""
        found: list[Scope] = []
        if self._fields:
            payload = _json(task.body)
            found += [rule.scope(_share(payload, rule.limit.path)) for rule in self._fields]
        found += [rule.scope(task.tenant) for rule in self._tenant]
        found += self._role
        of_tenant = self._tenants.get(task.tenant) or self._tenants.get(EVERYONE)
        if of_tenant is not None:
            found.append(of_tenant.scope(task.tenant))
        return found


def _rule(name: tuple[str, ...], limit: Limit) -> _Rule:
    if limit.rate is None:
        return _Rule(name, None, limit)
    return _Rule(name, Bucket(parse_rate(limit.rate).interval, limit.burst), limit)


def _numbered(limits: Sequence[Limit]) -> list[tuple[str, Limit]]:
    """Each with a word that stays the same when limits by something else come or go."""
    seen: Counter[str] = Counter()
    found = []
    for limit in limits:
        found.append((f"{limit.by}.{seen[limit.by]}", limit))
        seen[limit.by] += 1
    return found


def _json(body: bytes) -> Any:
    """The payload; one that is no JSON has no fields, and is refused when it is read."""
    try:
        return from_json(body)
    except ValueError:
        return None


def _share(payload: Any, path: Sequence[str]) -> str:
    """A word for the value at `path`, equal for equal values and short for long ones."""
    for word in path:
        payload = payload.get(word) if isinstance(payload, dict) else None
    return hashlib.sha256(to_json(payload)).hexdigest()[:24]
