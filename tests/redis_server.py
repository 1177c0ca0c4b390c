"""A real Redis server for tests, which may be killed, frozen and restarted."""

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from deploy import ports, redis_server
from deploy.errors import ServerMissing
from tests.server_process import ServerProcess
from tests.servers import missing


class RedisServer(ServerProcess):
    """One Redis server that syncs every write, its files under `folder`.

    The port stays the same over `kill` and `restart`, so that clients can find it again. `more` are
    lines for its configuration; `tls` moves its port to TLS, for which those must say the rest.
    """

    program = redis_server.NAME
    database: str | None = None
    lease = 1.5
    fallback: str | None = None

    def __init__(self, folder: Path, *, more: Sequence[str] = (), tls: bool = False) -> None:
        super().__init__(folder)
        self._more = more
        self._tls = tls
        self._port = ports.free()

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme, host = ("rediss", "localhost") if self._tls else ("redis", ports.LOOPBACK)
        return f"{scheme}://{host}:{self._port}"

    @property
    def store(self) -> "RedisServer":
        """Its key-value store lies on itself."""
        return self

    @override
    def _prepared(self) -> Sequence[str | Path]:
        try:
            program = redis_server.locate()
        except ServerMissing as error:
            missing("redis", str(error))
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        plain, tls = (0, self._port) if self._tls else (self._port, None)
        text = redis_server.configuration(self.folder, port=plain, tls_port=tls)
        config.write_text(text + "".join(f"{line}\n" for line in self._more), encoding="utf-8")
        return [program.path, config]

    @override
    def _answers(self) -> bool:
        """By TLS it is not asked: who can connect is answered."""
        if self._tls:
            return not ports.is_free(self._port)
        return redis_server.answers(self._port)
