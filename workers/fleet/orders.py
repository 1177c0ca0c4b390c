"""What people want of a role, and what the work asks for: the entries of the family `scale`."""

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from bus.keyvalue import keys
from bus.keyvalue.paging import entries
from bus.keyvalue.protocol import KeyValue
from workers.fleet.replicas import Range, Replicas

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """Somebody's decision; it holds over all settings until it is taken back. `at`: UTC epoch
    seconds."""

    replicas: Replicas
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Auto:
    """How many the work asks for, why, and since when (UTC epoch seconds)."""

    wanted: int
    why: str
    at: float


_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
_AUTO: TypeAdapter[Auto] = TypeAdapter(Auto)


def encode(value: Order | Auto) -> bytes:
    """As it is kept in the store."""
    return to_json(asdict(value))


def order(value: bytes) -> Order | None:
    """None for what a foreign hand has put there."""
    return _decoded(_ORDER, value)


def auto(value: bytes) -> Auto | None:
    """None for what a foreign hand has put there."""
    return _decoded(_AUTO, value)


def _decoded(adapter: TypeAdapter[T], value: bytes) -> T | None:
    try:
        return adapter.validate_python(from_json(value))
    except (ValidationError, ValueError):
        return None


async def give(store: KeyValue, role: str, wanted: Order, *, present: int) -> None:
    """Want so many of `role` from now on, until it is taken back. A range begins with the
    processes that are `present`. Raises what the store raises."""
    if isinstance(wanted.replicas, Range):
        await _begin(store, role, present, wanted.at)
    else:
        await store.delete(keys.auto(role))
    await store.put(keys.wanted(role), encode(wanted))


async def take_back(store: KeyValue, role: str, now: float, *, present: int) -> bool:
    """Let the settings decide again, a range of theirs as by `give`; False when they did."""
    if await store.get(keys.wanted(role)) is None:
        return False
    await _begin(store, role, present, now)
    return await store.delete(keys.wanted(role))


async def _begin(store: KeyValue, role: str, present: int, now: float) -> None:
    begin = Auto(present, "as many as there were", now)
    await store.put(keys.auto(role), encode(begin))


async def orders(store: KeyValue) -> dict[str, Order]:
    """What was decided, by role."""
    return await _all(store, keys.wanted(), _ORDER)


async def autos(store: KeyValue) -> dict[str, Auto]:
    """What the work asks for, by role."""
    return await _all(store, keys.auto(), _AUTO)


async def _all(store: KeyValue, prefix: str, adapter: TypeAdapter[Any]) -> dict[str, Any]:
    found = {
        entry.key.removeprefix(prefix): _decoded(adapter, entry.value)
        async for entry in entries(store, prefix)
    }
    return {role: value for role, value in found.items() if value is not None}
