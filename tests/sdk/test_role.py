"""Roles: what the decorator refuses, and what a payload that does not fit is told."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from contracts.limits import Limit
from workers.sdk.blocking import SyncContext
from workers.sdk.context import Context
from workers.sdk.errors import InvalidPayload, RoleError
from workers.sdk.role import MARK, Role, role


class Item(BaseModel):
    name: str
    count: int = Field(ge=1)


class Order(BaseModel):
    items: list[Item]
    note: str = ""


async def fine(order: Order, ctx: Context) -> Item:
    """Take an order.

    And more about it.
    """
    return order.items[0]


def declared(handler: Callable[..., Any] = fine, **options: Any) -> Role:
    """The role of this handler."""
    name = options.pop("name", "orders")
    made = getattr(role(name, **options)(handler), MARK)
    assert isinstance(made, Role)
    return made


def refused(handler: Callable[..., Any] = fine, /, **options: Any) -> str:
    """Why this declaration is refused; it always says where it stands."""
    with pytest.raises(RoleError) as caught:
        declared(handler, **options)
    assert re.search(r"test_role\.py:\d+: ", caught.value.details)
    return caught.value.details


def test_a_role_knows_what_was_declared_and_where() -> None:
    made = declared(listens="order.*", concurrency=3, attempts=2, timeout=9.5, backoff=0.5)
    assert (made.name, made.listens) == ("orders", ("order.*",))
    assert (made.concurrency, made.attempts, made.timeout, made.backoff) == (3, 2, 9.5, 0.5)
    assert made.file == Path(__file__)
    assert made.summary == "Take an order."
    assert declared(listens=["a", "b.#"]).listens == ("a", "b.#")
    assert declared().listens == ()


async def test_a_handler_stays_what_it_was() -> None:
    """It can be called as such, in a test without any bus."""
    handler = role("orders")(fine)
    order = Order(items=[Item(name="a", count=1)])
    assert handler is fine
    assert await handler(order, None) == order.items[0]  # type: ignore[arg-type]


def test_a_plain_function_takes_the_context_that_blocks() -> None:
    def plain(order: Order, ctx: SyncContext) -> None:
        return

    def bare(order, ctx):  # type: ignore[no-untyped-def]
        return order

    assert declared(plain).plain
    assert declared(bare).plain
    assert not declared().plain


def test_a_context_of_the_other_kind_is_refused() -> None:
    """What one awaits, the other does not: better found at import than as a forgotten `await`."""

    def plain(order: Order, ctx: Context) -> None: ...
    async def awaits(order: Order, ctx: SyncContext) -> None: ...

    assert "annotate its ctx as SyncContext, or make it `async def`" in refused(plain)
    assert "annotate its ctx as Context, or make it `def`" in refused(awaits)


def test_a_context_in_the_place_of_the_payload_is_refused() -> None:
    async def swapped(ctx: Context, order: Order) -> None: ...

    assert "the payload comes before the context" in refused(swapped)


def test_a_generator_is_refused() -> None:
    async def several(order: Order, ctx: Context) -> Any:
        yield order

    def plainly(order: Order, ctx: SyncContext) -> Any:
        yield order

    for handler in (several, plainly):
        assert "the handler yields" in refused(handler)


def test_what_is_no_function_is_refused() -> None:
    class Called:
        def __call__(self, order: Order, ctx: Context) -> None: ...

    with pytest.raises(RoleError) as caught:
        role("orders")(Called())
    assert "neither `async def` nor `def`" in caught.value.details


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_handler_takes_payload_and_context(count: int) -> None:
    async def none() -> None: ...
    async def one(order: Order) -> None: ...
    async def three(order: Order, ctx: Context, more: int = 0) -> None: ...

    handlers: dict[int, Callable[..., Any]] = {0: none, 1: one, 3: three}
    assert f"takes {count} parameters, expected (payload, ctx)" in refused(handlers[count])


def test_a_handler_that_cannot_be_called_with_both_is_refused() -> None:
    async def by_name(order: Order, *, ctx: Context) -> None: ...

    assert "cannot be called as handler(payload, ctx)" in refused(by_name)


@pytest.mark.parametrize("annotation", ["Nowhere", "1 +", "Path.Nowhere", "list[Nowhere]"])
def test_annotations_that_cannot_be_read_are_refused(annotation: str) -> None:
    async def handler(order: Any, ctx: Context) -> None: ...

    handler.__annotations__["order"] = annotation
    assert "its annotations cannot be read" in refused(handler)


def test_a_type_that_cannot_be_checked_is_refused() -> None:
    class Opaque:
        pass

    async def takes(order: Opaque, ctx: Context) -> None: ...
    async def gives(order: Any, ctx: Context) -> Opaque:
        return Opaque()

    for handler in (takes, gives):
        assert "Opaque'> cannot be checked" in refused(handler)


def test_without_annotations_anything_goes() -> None:
    async def handler(order, ctx):  # type: ignore[no-untyped-def]
        return order

    made = declared(handler)
    assert made.read(b'{"a":[1]}') == {"a": [1]}
    assert made.write({"a": [1]}) == b'{"a":[1]}'


@pytest.mark.parametrize("pattern", ["a..b", "a.#.b", "", "a b"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    assert "is not a valid pattern" in refused(listens=["fine", pattern])


@pytest.mark.parametrize("name", ["", "Orders", "or.ders", "-x", "a" * 65])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert "is not a valid group" in refused(name=name)


@pytest.mark.parametrize(
    "option", ["concurrency", "attempts", "timeout", "backoff", "backoff_cap", "backoff_factor"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), True, "3", None])
def test_numbers_that_make_no_sense_are_refused(option: str, value: object) -> None:
    assert f"{option}={value!r} has to be" in refused(fine, **{option: value})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"isolation": "thread"}, "isolation='thread'"),
        ({"memory_mb": 100}, "memory_mb=100 needs isolation"),
        ({"files": 10}, "files=10 needs isolation"),
        ({"isolation": "process", "memory_mb": 63}, "memory_mb=63 is too little, at least 64"),
        ({"isolation": "process", "files": 0}, "files=0"),
        ({"isolation": "process", "files": 1.5}, "files=1.5"),
    ],
)
def test_an_isolation_that_cannot_be_had_is_refused(options: Any, says: str) -> None:
    assert says in refused(**options)


def test_a_role_may_ask_for_processes_of_its_own() -> None:
    made = declared(isolation="process", memory_mb=256, files=20)
    assert (made.isolation, made.memory_mb, made.files) == ("process", 256, 20)
    assert declared().isolation is None


@pytest.mark.parametrize("option", ["concurrency", "attempts"])
def test_whole_things_are_counted_in_whole_numbers(option: str) -> None:
    assert f"{option}=2.5 has to be a whole number" in refused(fine, **{option: 2.5})


def test_a_payload_is_read_as_the_declared_type() -> None:
    found = declared().read(b'{"items":[{"name":"a","count":2}]}')
    assert found == Order(items=[Item(name="a", count=2)])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", "items: Field required, got nothing"),
        (b'{"items":[{"name":"a","count":"x"}]}', "items.0.count: Input should be a valid integer"),
        (b'{"items":[{"name":"a","count":0}]}', "greater than or equal to 1, got 0"),
        (b'{"items":[{"name":1,"count":1}]}', "items.0.name: Input should be a valid string"),
        (b"[]", "(whole value): "),
        (b"{", "(whole value): Invalid JSON"),
        (b"\xff", "(whole value): "),
        (b"", "(whole value): Invalid JSON"),
    ],
)
def test_a_payload_that_does_not_fit_is_told_field_expected_and_got(
    body: bytes, expected: str
) -> None:
    with pytest.raises(InvalidPayload, match="does not fit role orders") as caught:
        declared().read(body)
    assert expected in caught.value.details


def test_every_wrong_field_is_named_up_to_ten() -> None:
    body = b'{"items":[' + b",".join([b'{"name":1,"count":0}'] * 20) + b"]}"
    with pytest.raises(InvalidPayload) as caught:
        declared().read(body)
    assert caught.value.details.count("items.") == 10


def test_a_long_value_is_not_repeated_in_full() -> None:
    body = b'{"items":"' + b"x" * 100_000 + b'"}'
    with pytest.raises(InvalidPayload) as caught:
        declared().read(body)
    assert len(caught.value.details) < 300


def test_a_result_is_written_as_declared_and_another_type_is_refused() -> None:
    assert declared().write({"name": "a", "count": 1}) == b'{"name":"a","count":1}'
    with pytest.raises(InvalidPayload, match="result of role orders has another type") as caught:
        declared().write({"name": "a"})
    assert "count: Field required" in caught.value.details


def test_a_result_that_is_no_json_is_refused() -> None:
    async def handler(order: Order, ctx: Context) -> Any: ...

    for value in ({"a": object()}, "\udcff"):
        with pytest.raises(InvalidPayload, match="not JSON"):
            declared(handler).write(value)


def test_limits_are_limits() -> None:
    """What is none is refused at the declaration; a sound one is kept."""
    limit = Limit(rate="10/s", by="payload.customer")
    limited = getattr(role("limited", limits=[limit])(sound), MARK)
    assert limited.limits == (limit,)
    with pytest.raises(RoleError, match="expected a list of Limit"):
        role("limited", limits=["10/s"])(sound)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurency": 3}, "there is no option 'concurency'; did you mean concurrency?"),
        ({"colour": 3}, "there is no option 'colour'; known: listens, "),
        ({"backoff_factor": 0.5}, "backoff_factor=0.5 has to be at least 1"),
        ({"backoff_cap": float("inf")}, "backoff_cap=inf has to be a number of seconds"),
        ({"backoff_jitter": 1.5}, "backoff_jitter=1.5 has to be a share from 0 to 1"),
        ({"backoff_jitter": True}, "backoff_jitter=True has to be a share"),
        ({"retry_on": "ValueError"}, "retry_on='ValueError', expected classes of exceptions"),
        ({"never_retry": (ValueError, 3)}, "never_retry=3, expected classes of exceptions"),
        ({"delivery": "exactly-once"}, "delivery='exactly-once', expected \"once\""),
        ({"delivery": "once", "attempts": 3}, "a task is started at most once"),
        ({"delivery": "once", "retry_on": OSError}, "retry_on says what to retry"),
        ({"once_for": 60}, 'once_for belongs to delivery="once"'),
        ({"delivery": "once", "once_for": 0}, "once_for=0 has to be above 0"),
    ],
)
def test_an_option_that_cannot_work_is_refused(options: Any, says: str) -> None:
    assert says in refused(**options)


def test_a_role_says_how_it_is_retried() -> None:
    made = declared(
        backoff_factor=3,
        backoff_cap=60,
        backoff_jitter=0.5,
        retry_on=OSError,
        never_retry=[KeyError],
    )
    assert (made.backoff_factor, made.backoff_cap, made.backoff_jitter) == (3, 60, 0.5)
    assert (made.retry_on, made.never_retry) == ((OSError,), (KeyError,))
    plain = declared()
    assert (plain.retry_on, plain.never_retry, plain.once) == (None, (), False)


def test_a_role_whose_tasks_start_once_has_one_attempt() -> None:
    made = declared(delivery="once", once_for=60.0)
    assert (made.once, made.attempts, made.once_for) == (True, 1, 60.0)


async def sound(payload: object, ctx: Context) -> None:
    """A handler."""
