"""The real brokers the suites run on, by name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest


class Server(Protocol):
    """A real server that a test may start, kill and freeze."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def stop(self) -> None:
        """End it in good order."""
        ...

    def freeze(self) -> None:
        """SIGSTOP."""
        ...

    def thaw(self) -> None:
        """SIGCONT."""
        ...


class Broker(Server, Protocol):
    """A real broker that a test may connect to, too.

    `database`: the URL of the bus database of brokers that need one, which the calls of a server
    leave alone. `fallback`: where the second one is, if two brokers make this one. `store`: the
    server on which its key-value store lies: itself, or the one of that database. `lease`: seconds,
    the least that its fleets can have, or 1.5 if that is more. `starting`: seconds that a start may
    take on a busy machine, if that is much for a test.
    """

    @property
    def url(self) -> str:
        """Where clients connect; the same over all its starts."""
        ...

    @property
    def database(self) -> str | None:
        """See the class."""
        ...

    @property
    def fallback(self) -> str | None:
        """See the class."""
        ...

    @property
    def store(self) -> Server:
        """See the class."""
        ...

    @property
    def lease(self) -> float:
        """See the class."""
        ...

    @property
    def starting(self) -> float:
        """See the class."""
        ...


BROKERS = ("nats", "redis", "rabbitmq", "kafka", "failover")
"""Those there are; `failover` is two NATS servers as one. Each has a mark of its name, and the
fixtures NAME_server, shared by all tests, and own_NAME, which makes one of the test's own."""

VARIABLE = "MUSTER_BROKERS"
"""Names, comma-separated, of those whose tests are run; `all` for each. This module alone reads it.
"""

REAL = [pytest.param(name, id=name, marks=getattr(pytest.mark, name)) for name in BROKERS]
"""What tests with real processes run on."""

ALONE = [param for param in REAL if param.id != "failover"]
"""The same without two as one: what is started by its name, or spoken to by others."""

IMPLEMENTATIONS = [pytest.param("memory", id="memory"), *REAL]
"""What the conformance suite runs on."""


def chosen() -> tuple[str, ...]:
    """Those whose tests are run."""
    named = {name.strip() for name in os.environ.get(VARIABLE, "nats").split(",")}
    unknown = named - {*BROKERS, "all"}
    if unknown:
        raise pytest.UsageError(f"{VARIABLE} names {', '.join(unknown)}; there are {BROKERS}")
    return tuple(name for name in BROKERS if name in named or "all" in named)


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of brokers that were not chosen."""
    others = set(BROKERS) - set(chosen())
    out = [item for item in items if any(item.get_closest_marker(name) for name in others)]
    if out:
        config.hook.pytest_deselected(items=out)
        gone = set(out)
        items[:] = [item for item in items if item not in gone]


def shared(request: pytest.FixtureRequest, name: str) -> Broker:
    """The broker all tests share: use your own fleet name on it, and never stop it."""
    found: Broker = request.getfixturevalue(f"{name}_server")
    return found


def own(request: pytest.FixtureRequest, name: str, **options: object) -> Broker:
    """A broker of the test's own, started; with these options of its kind."""
    make: Callable[..., Broker] = request.getfixturevalue(f"own_{name}")
    return make(**options)


def tell(broker: Broker, folder: Path) -> Broker:
    """Let whoever reads its settings in `folder` know what belongs to the broker."""
    if found := _beside(broker):
        lines = [f'{name} = "{url}"\n' for name, url in found.items()]
        (folder / "muster.toml").write_text("".join(["[bus]\n", *lines]), encoding="utf-8")
    return broker


def environment(broker: Broker) -> dict[str, str]:
    """The same for processes of another folder."""
    return {f"MUSTER_BUS_{name.upper()}": url for name, url in _beside(broker).items()}


def _beside(broker: Broker) -> dict[str, str]:
    """Settings of `[bus]` beside its address."""
    found = {"database": broker.database, "fallback": broker.fallback}
    return {name: url for name, url in found.items() if url}
