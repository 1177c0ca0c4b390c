"""The key-value store: entries, expiry, compare-and-set and pages."""

import asyncio
import random

import pytest

from bus.errors import Conflict, TooLarge
from bus.keyvalue.protocol import ABSENT, MAX_VALUE
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import eventually

ODD_KEYS = (
    "a b/c",
    "dots.and.more/.x.",
    "stars*/>x/$y",
    "ünï/✓",
    "percent%2Fx/%",
    "UPPER/lower",
    "equals=/q?&#",
    "back\\slash/'quotes\"",
    "long/" + "x" * 190,
    "{braces}/[brackets]|~^`",
    "-/_",
)


@pytest.mark.promise(0)
async def test_what_was_put_is_there_for_everybody(world: World) -> None:
    """`get` gives the last value put by anyone; None for what is not there."""
    store, other = await world.keyvalue(), await world.keyvalue()
    assert await store.get("a/1") is None
    first = await store.put("a/1", b"one")
    found = await other.get("a/1")
    assert found is not None
    assert (found.key, found.value, found.revision) == ("a/1", b"one", first)
    second = await other.put("a/1", b"two")
    assert second > first
    found = await store.get("a/1")
    assert found is not None
    assert (found.value, found.revision) == (b"two", second)


@pytest.mark.promise(0)
@pytest.mark.parametrize("value", [b"", b"\x00\xff" * 100, bytes(MAX_VALUE)], ids=len)
async def test_values_are_any_bytes_up_to_the_limit(world: World, value: bytes) -> None:
    """Also none at all: an empty value is not an absent entry."""
    store = await world.keyvalue()
    await store.put("a/1", value)
    found = await store.get("a/1")
    assert found is not None
    assert found.value == value
    assert [entry.value for entry in await store.list("a/")] == [value]


@pytest.mark.promise(0)
async def test_a_value_over_the_limit_is_refused(world: World) -> None:
    """`TooLarge`, and the entry is as it was."""
    store = await world.keyvalue()
    await store.put("a/1", b"one")
    with pytest.raises(TooLarge):
        await store.put("a/1", bytes(MAX_VALUE + 1))
    found = await store.get("a/1")
    assert found is not None
    assert found.value == b"one"


@pytest.mark.promise(0)
async def test_put_with_absent_writes_only_once(world: World) -> None:
    """`ABSENT` is a conflict while there is an entry, not after it was deleted."""
    store = await world.keyvalue()
    await store.put("a/1", b"one", expect=ABSENT)
    with pytest.raises(Conflict):
        await store.put("a/1", b"two", expect=ABSENT)
    assert await store.delete("a/1")
    await store.put("a/1", b"three", expect=ABSENT)
    found = await store.get("a/1")
    assert found is not None
    assert found.value == b"three"


@pytest.mark.promise(0)
async def test_put_with_a_revision_writes_only_on_that_one(world: World) -> None:
    """A stale revision, or one of an entry that is gone, is a conflict that changes nothing."""
    store = await world.keyvalue()
    first = await store.put("a/1", b"one")
    second = await store.put("a/1", b"two", expect=first)
    with pytest.raises(Conflict):
        await store.put("a/1", b"stale", expect=first)
    with pytest.raises(Conflict):
        await store.put("a/none", b"x", expect=second)
    found = await store.get("a/1")
    assert found is not None
    assert (found.value, found.revision) == (b"two", second)
    assert await store.delete("a/1")
    with pytest.raises(Conflict):
        await store.put("a/1", b"x", expect=second)
    assert await store.get("a/1") is None
    assert await store.get("a/none") is None


@pytest.mark.promise(0)
async def test_delete_says_whether_it_removed_something(world: World) -> None:
    """Nothing to remove, or another revision than expected: False and no change."""
    store = await world.keyvalue()
    assert not await store.delete("a/1")
    first = await store.put("a/1", b"one")
    second = await store.put("a/1", b"two")
    assert not await store.delete("a/1", expect=first)
    assert await store.get("a/1") is not None
    assert await store.delete("a/1", expect=second)
    assert await store.get("a/1") is None
    assert not await store.delete("a/1")
    assert not await store.delete("a/1", expect=second)


@pytest.mark.promise(0)
async def test_an_entry_expires_at_its_time(world: World) -> None:
    """Not before `ttl`, at most a second after; then it is absent for every call."""
    store = await world.keyvalue()
    start = world.clock.monotonic()
    revision = await store.put("a/1", b"one", ttl=1.0)
    await store.put("a/2", b"kept")
    await world.pass_time(0.7)
    assert await store.get("a/1") is not None

    async def gone() -> bool:
        return await store.get("a/1") is None

    await eventually(world, 1.4, gone)
    assert 0.95 <= world.clock.monotonic() - start < 2.1
    assert [entry.key for entry in await store.list("a/")] == ["a/2"]
    assert not await store.delete("a/1")
    with pytest.raises(Conflict):
        await store.put("a/1", b"x", expect=revision)
    await store.put("a/1", b"again", expect=ABSENT)
    assert await store.get("a/1") is not None


@pytest.mark.promise(0)
async def test_a_later_put_replaces_the_expiry(world: World) -> None:
    """By a longer one, by none at all, and a shorter one is obeyed."""
    store = await world.keyvalue()
    await store.put("a/longer", b"1", ttl=1.0)
    await store.put("a/for-ever", b"1", ttl=1.0)
    await store.put("a/shorter", b"1", ttl=3600.0)
    await store.put("a/longer", b"2", ttl=3600.0)
    await store.put("a/for-ever", b"2")
    await store.put("a/shorter", b"2", ttl=1.0)

    async def only_two() -> bool:
        return [entry.key for entry in await store.list("a/")] == ["a/for-ever", "a/longer"]

    await eventually(world, 2.1, only_two)
    await world.pass_time(0.5)
    assert await only_two()


@pytest.mark.promise(0)
async def test_a_fine_ttl_is_rounded_up(world: World) -> None:
    """At least a second; a fraction never shortens a life."""
    store = await world.keyvalue()
    await store.put("a/short", b"1", ttl=0.1)
    await store.put("a/fine", b"1", ttl=1.2)
    await world.pass_time(0.5)
    assert await store.get("a/short") is not None
    await world.pass_time(0.75)
    assert await store.get("a/fine") is not None


@pytest.mark.promise(0)
async def test_list_is_in_order_and_in_pages(world: World) -> None:
    """By code point; `after` is exclusive and need not exist; a page has at most `limit`."""
    store = await world.keyvalue()
    keys = [f"p/{n:03}" for n in range(120)] + ["p/A", "p/a", "p/~", "p/é", "p/0/1", "p/ "]
    random.Random(3).shuffle(keys)
    await asyncio.gather(*(store.put(key, key.encode()) for key in keys))
    assert [entry.key for entry in await store.list("p/")] == sorted(keys)
    found: list[str] = []
    after = None
    while page := await store.list("p/", after=after, limit=25):
        assert len(page) <= 25
        assert all(entry.value == entry.key.encode() for entry in page)
        found += [entry.key for entry in page]
        after = page[-1].key
    assert found == sorted(keys)
    assert await store.delete("p/050")
    following = await store.list("p/", after="p/050", limit=2)
    assert [entry.key for entry in following] == ["p/051", "p/052"]
    assert [e.key for e in await store.list("p/", after="p/0505", limit=1)] == ["p/051"]
    assert await store.list("p/", after="p/\U0010ffff") == []


@pytest.mark.promise(0)
async def test_a_page_has_500_entries_unless_told(world: World) -> None:
    """And the next one goes on behind it."""
    store = await world.keyvalue()
    await asyncio.gather(*(store.put(f"p/{n:04}", b"x") for n in range(1100)))
    sizes, after = [], None
    while page := await store.list("p/", after=after):
        sizes.append(len(page))
        after = page[-1].key
    assert sizes == [500, 500, 100]


@pytest.mark.promise(0)
async def test_prefixes_do_not_leak(world: World) -> None:
    """`a/b/` is not `a/bc/`, nor the key `a/b`; the empty prefix is everything."""
    store = await world.keyvalue()
    keys = ["a/b", "a/b/1", "a/b/2/x", "a/bc/1", "a", "A/b/1", "a/b.1"]
    for key in keys:
        await store.put(key, b"x")
    expected = {
        "a/b/": ["a/b/1", "a/b/2/x"],
        "a/bc/": ["a/bc/1"],
        "a/": ["a/b", "a/b.1", "a/b/1", "a/b/2/x", "a/bc/1"],
        "a/b/2/": ["a/b/2/x"],
        "x/": [],
        "": sorted(keys),
    }
    for prefix, wanted in expected.items():
        assert [entry.key for entry in await store.list(prefix)] == wanted


@pytest.mark.promise(0)
async def test_keys_may_have_any_printable_characters(world: World) -> None:
    """None stands for another, and every call knows them."""
    store = await world.keyvalue()
    for number, key in enumerate(ODD_KEYS):
        await store.put(key, str(number).encode(), expect=ABSENT)
    for number, key in enumerate(ODD_KEYS):
        found = await store.get(key)
        assert found is not None
        assert (found.key, found.value) == (key, str(number).encode())
        prefix = key[: key.rindex("/") + 1]
        assert [entry.key for entry in await store.list(prefix)] == [key]
    assert [entry.key for entry in await store.list("")] == sorted(ODD_KEYS)
    for key in ODD_KEYS:
        assert await store.delete(key)
    assert await store.list("") == []


@pytest.mark.promise(0)
async def test_fleets_do_not_see_each_other(world: World, another: World) -> None:
    """Two fleets on one broker have nothing in common."""
    store, stranger = await world.keyvalue(), await another.keyvalue()
    await store.put("a/1", b"one")
    assert await stranger.get("a/1") is None
    assert await stranger.list("") == []
