"""A real server and the environment of processes that use it, for benchmarks."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import NatsServer

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Bench:
    """A fresh server for one round; `fleet` prefixes what is created on it."""

    url: str
    folder: Path
    fleet: str

    def environment(self, **more: str) -> Mapping[str, str]:
        """For a process of this fleet."""
        own = {
            "MUSTER_BUS_URL": self.url,
            "MUSTER_FLEET_NAME": self.fleet,
            "MUSTER_ROLES": str(ROOT / "tests" / "bench" / "roles.py"),
            "MUSTER_LOG_LEVEL": "warning",
        }
        return {**os.environ, **own, **more}


MUSTER = (sys.executable, "-m", "workers.cli.main")


@contextmanager
def server() -> Iterator[Bench]:
    """A NATS server with every promise kept, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        nats = NatsServer(Path(folder) / "nats")
        nats.start()
        try:
            yield Bench(nats.url, Path(folder), "bench")
        finally:
            nats.stop()
