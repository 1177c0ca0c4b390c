"""Nodes as processes of their own, to be killed, frozen and started again."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from consensus.client.client import LedgerClient
from consensus.node.beginning import new_cluster, new_node
from consensus.storage.record import write_record
from deploy.ports import LOOPBACK, free
from tests.consensus.node.cluster import KEYS, OF_WORKER, RNG, places


class Fleet:
    """Three nodes, or so many; each has a folder, a log and, while it runs, a process."""

    def __init__(self, folder: Path, count: int = 3, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.addresses = places(count)
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.ids: dict[str, int] = {}
        self.keys = folder / "keys.json"
        secret = {party.name.lower(): key.hex() for party, key in KEYS.items()}
        self.keys.write_text(json.dumps(secret), encoding="utf-8")
        records = new_cluster(self.addresses, now_ms=int(time.time() * 1000), rng=RNG)
        self.cluster = records[0].cluster
        for address, record in zip(self.addresses, records, strict=True):
            self.folder_of(address).mkdir()
            write_record(self.folder_of(address), record)
            self.ids[address] = record.node

    def prepare_joiner(self) -> str:
        """The folder of a node that is to join; its address."""
        address = f"{LOOPBACK}:{free()}"
        record = new_node(self.cluster, rng=RNG)
        self.folder_of(address).mkdir()
        write_record(self.folder_of(address), record)
        self.addresses.append(address)
        self.ids[address] = record.node
        return address

    def folder_of(self, address: str) -> Path:
        """Of the node at an address."""
        return self.folder / address.rpartition(":")[2]

    def said(self, address: str) -> str:
        """What the node wrote to its log, over all its lives."""
        return (self.folder / f"{address.rpartition(':')[2]}.log").read_text(encoding="utf-8")

    async def start(self, address: str) -> None:
        """Begin a process; it is not waited for."""
        command = [sys.executable, "-m", "consensus.node", str(self.folder_of(address))]
        command += ["--address", address, "--keys", str(self.keys), *self.options]
        with (self.folder / f"{address.rpartition(':')[2]}.log").open("ab") as log:
            self.processes[address] = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log
            )

    async def kill(self, address: str, sign: int = signal.SIGKILL) -> int:
        """End one; what it returned."""
        process = self.processes.pop(address)
        process.send_signal(sign)
        return await process.wait()

    def freeze(self, address: str) -> None:
        """Let it stand still."""
        self.processes[address].send_signal(signal.SIGSTOP)

    def thaw(self, address: str) -> None:
        """Let it go on."""
        self.processes[address].send_signal(signal.SIGCONT)

    async def leader(self, client: LedgerClient) -> str:
        """The address of the leader, as the client finds it."""
        return str((await client.status()).body["address"])


@asynccontextmanager
async def fleet(folder: Path, *options: str) -> AsyncIterator[Fleet]:
    """Three processes, ended at the end."""
    made = Fleet(folder, 3, *options)
    try:
        for address in made.addresses:
            await made.start(address)
        yield made
    finally:
        for process in made.processes.values():
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()


def worker(made: Fleet, name: str, timeout: float = 20) -> LedgerClient:
    """A client of these nodes."""
    return LedgerClient(made.addresses, worker=name, keys=OF_WORKER, timeout=timeout, answer_s=0.5)
