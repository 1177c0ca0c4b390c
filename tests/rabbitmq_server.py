"""A real RabbitMQ for tests, with a PostgreSQL beside it for the bus database."""

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

from deploy import ports, rabbitmq_server
from deploy.errors import ServerMissing
from deploy.rabbitmq_server import PASSWORD, USER, Node
from tests.brokers import Server
from tests.server_process import ServerProcess
from tests.servers import missing

_TICKS = "[{rabbit, [{channel_tick_interval, 1000}]}].\n"
"""How often `consumer_timeout` is looked at, in milliseconds: a minute unless told."""

_ASKED = """
Calls = [{rabbit_channel, do, 2}, {rabbit_channel, do_flow, 3}],
Count = fun (Call) ->
    case erlang:trace_info(Call, call_count) of
        {call_count, Found} when is_integer(Found) -> Found;
        _ -> erlang:trace_pattern(Call, true, [call_count]), 0
    end
end,
Packets = [Found || [{recv_cnt, Found}] <- rabbit_networking:connection_info_all([recv_cnt])],
{lists:sum(lists:map(Count, Calls)), lists:sum(Packets)}.
"""
"""What the readers of connections hand to channels, as Erlang counts calls (`trace_pattern`):
RabbitMQ itself counts messages only."""

_TRIES = 3
"""Starts of one that was never up, if somebody was quicker to take its ports."""

__all__ = ["PASSWORD", "USER", "RabbitServer", "program", "running"]


def program() -> Path:
    """The script that starts a server; ends the test when there is none."""
    try:
        return rabbitmq_server.locate()
    except ServerMissing as error:
        missing("rabbitmq", str(error))


class RabbitServer(ServerProcess):
    """One RabbitMQ whose files lie under `folder`, of its own node name, ports and cookie.

    `database`: the address of the bus database; `store` what its store lies on, which tests of
    the store stop. The ports stay the same over `kill` and `restart`. `consumer_timeout` in
    seconds; `more` is added to its configuration; `management`: it tells of itself, too.
    """

    program = rabbitmq_server.NAME
    ready = 60.0
    end = 20.0
    poll = 0.05
    lease = 2.5
    """Half a second more than the least: heartbeats of a second notice what hangs in 1 to 3 s."""

    starting = 10.0
    fallback: str | None = None

    def __init__(
        self,
        folder: Path,
        store: Server,
        database: str,
        *,
        consumer_timeout: float = 1800.0,
        more: str = "",
        management: bool = False,
    ) -> None:
        super().__init__(folder)
        self.store = store
        self.database: str | None = database
        self._node = _node()
        self.management = ports.free() if management else 0
        self._tries = _TRIES
        self._lines = (
            f"consumer_timeout = {int(consumer_timeout * 1000)}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 50MB\n"
            f"{more}"
        )

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.address(PASSWORD)

    def address(self, password: str, *, scheme: str = "amqp", port: int | None = None) -> str:
        """The same with another password."""
        return f"{scheme}://{USER}:{password}@{ports.LOOPBACK}:{port or self.port}/"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._node.port

    def close(self) -> None:
        """End it for good, and the small daemon that Erlang left behind."""
        self.discard()
        rabbitmq_server.end_daemons(self.folder)

    def control(self, *words: str) -> str:
        """What `rabbitmqctl` says, by hand as an operator would."""
        done = subprocess.run(
            [program().with_name("rabbitmqctl"), "-n", self._node.name, *words],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def asked(self) -> Counter[str]:
        """How many methods the channels of clients were handed since the first call of this, and
        how many packets came on the connections there are, heartbeats with them."""
        methods, packets = self.control("eval", _ASKED).strip().strip("{}").split(",")
        return Counter({"methods": int(methods), "packets": int(packets)})

    @override
    def _prepared(self) -> Sequence[str | Path]:
        script = program()
        self.folder.mkdir(parents=True, exist_ok=True)
        plugins = "rabbitmq_management" if self.management else ""
        more = f"management.tcp.port = {self.management}\n" if self.management else ""
        more += self._lines
        rabbitmq_server.configure(self.folder, self._node, more=more, plugins=plugins)
        (self.folder / "advanced.config").write_text(_TICKS, encoding="utf-8")
        return [script]

    @override
    def _environment(self) -> Mapping[str, str]:
        return rabbitmq_server.environment(self.folder, self._node)

    @override
    def _answers(self) -> bool:
        if rabbitmq_server.greeting(self.port):
            self._tries = 0
            return True
        return False

    @override
    def _elsewhere(self) -> bool:
        self._tries -= 1
        if self._tries <= 0 or "eaddrinuse" not in self._said():
            return False
        self._node = _node()
        self.management = ports.free() if self.management else 0
        return True

    def _said(self) -> str:
        """Its output and its logs, of all starts."""
        logs = [self.log, *self.folder.glob("log/*.log")]
        return "".join(each.read_text(errors="replace") for each in logs if each.exists())


def _node() -> Node:
    """One of ports that were free a moment ago: it needs seconds to listen at them."""
    port = ports.free()
    name = f"muster{port}@localhost"
    return Node(name=name, port=port, epmd=ports.free(), distribution=ports.free())


@contextmanager
def running(server: RabbitServer) -> Iterator[RabbitServer]:
    """It runs until the block ends."""
    try:
        server.start()
        yield server
    finally:
        server.close()
