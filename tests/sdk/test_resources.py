"""Resources: which functions can be one, and which parameters ask for one."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from tests.sdk.test_role import Order, declared
from workers import Context, SyncContext, resource
from workers.sdk.errors import RoleError
from workers.sdk.resources import Resource


@resource
async def pool() -> AsyncIterator[list[str]]:
    """A pool."""
    yield ["pool"]


@resource
def session(pool: Annotated[list[str], pool]) -> Iterator[list[str]]:
    """What needs another one."""
    yield [*pool, "session"]


async def test_a_resource_is_a_context_manager_of_what_it_yields() -> None:
    found = pool.manager({})
    assert isinstance(found, contextlib.AbstractAsyncContextManager)
    async with found as opened:
        assert opened == ["pool"]
    inner = session.manager({"pool": ["p"]})
    assert isinstance(inner, contextlib.AbstractContextManager)
    with inner as both:
        assert both == ["p", "session"]
    assert dict(session.needs) == {"pool": pool}
    assert (pool.name, repr(pool)) == ("pool", "<resource pool>")


def test_a_function_may_return_a_context_manager() -> None:
    @resource
    def opened() -> Any:
        return contextlib.nullcontext(7)

    with opened.manager({}) as seven:  # type: ignore[union-attr]
        assert seven == 7


def test_one_that_returns_something_else_says_so() -> None:
    @resource
    def seven() -> Any:
        return 7

    with pytest.raises(RoleError, match="'seven' cannot be used") as caught:
        seven.manager({})
    assert "it returned int: yield the thing once" in caught.value.details


def test_a_parameter_that_nobody_can_give_is_refused() -> None:
    with pytest.raises(RoleError) as caught:

        @resource
        def wants(url: str) -> Iterator[str]:
            yield url

    assert "its parameter url is no resource" in caught.value.details
    assert "test_resources.py:" in caught.value.details


def test_only_functions_can_be_resources() -> None:
    with pytest.raises(RoleError, match="cannot be a resource"):
        resource(3)  # type: ignore[arg-type]


def test_a_handler_names_its_resources_by_annotation() -> None:
    async def handler(
        order: Order, ctx: Context, db: Annotated[list[str], pool], *, s: Annotated[Any, session]
    ) -> None: ...

    made = declared(handler)
    assert dict(made.resources) == {"db": pool, "s": session}
    assert isinstance(made.resources["db"], Resource)

    def plain(order: Order, ctx: SyncContext, db: Annotated[list[str], pool]) -> None: ...

    assert dict(declared(plain).resources) == {"db": pool}


def test_a_further_parameter_that_is_no_resource_is_refused() -> None:
    async def handler(order: Order, ctx: Context, db: list[str]) -> None: ...

    with pytest.raises(RoleError) as caught:
        declared(handler)
    assert "db is no resource, see @resource" in caught.value.details
