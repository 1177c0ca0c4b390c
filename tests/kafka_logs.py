"""Data folders for Kafka: formatted by the product once in a process, then copied.

Formatting one starts a Java of its own. An embedded Kafka formats its own folder.
"""

import atexit
import os
import re
import shutil
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from deploy import kafka_server, ports
from deploy.kafka_properties import Listener, properties

_NAMES = re.compile(r"^((?:cluster|directory)\.id)=.*$", re.MULTILINE)


def lay(folder: Path, logins: Sequence[str]) -> None:
    """Put a formatted, empty log into `folder`, of a cluster of its own that knows these users,
    unless there is one. Raises what `kafka_server.lay` does."""
    data = folder / "data"
    if not data.exists():
        shutil.copytree(_made(os.getpid(), tuple(logins)), data)
        meta = data / "meta.properties"
        text = meta.read_text(encoding="utf-8")
        meta.write_text(_NAMES.sub(lambda line: f"{line[1]}={_name()}", text), encoding="utf-8")


def _name() -> str:
    """As Kafka names clusters and folders."""
    return "A" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


@cache
def _made(_process: int, logins: Sequence[str]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="muster-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = properties(folder / "data", {"PLAIN": Listener(ports.free())}, controller=ports.free())
    kafka_server.lay(kafka_server.locate(), folder, text, logins=logins)
    return folder / "data"
