"""`python -m consensus.node FOLDER --address HOST:PORT [--keys FILE]`: run one node.

The folder has a bootstrap record, or ran before. The file of keys is JSON: for each of `peer`,
`worker` and `operator` 32 bytes or more as hexadecimal digits. Without one the node has no secret
at all, and says so. SIGTERM and SIGINT let it hand over and close.
"""

import argparse
import asyncio
import gc
import json
import logging
import signal
import sys
from pathlib import Path

from consensus.node.halting import CODE, told
from consensus.node.opening import open_node
from consensus.node.settings import NodeSettings
from consensus.wire.hello import Party
from consensus.wire.keys import Keys
from contracts.errors import MusterError

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

SWITCH_S = 0.0005
"""After so long the thread that writes gets its turn while the loop is busy. It needs several in
each transaction: with Python's 5 ms one takes 10 to 20 ms beside a busy loop, with this 4."""
_log = logging.getLogger(__name__)


def _keys(path: Path | None) -> Keys:
    if path is None:
        return Keys.none()
    found = json.loads(path.read_text(encoding="utf-8"))
    return Keys(
        Party.PEER, {Party[name.upper()]: bytes.fromhex(key) for name, key in found.items()}
    )


def _settings(arguments: list[str]) -> NodeSettings:
    parser = argparse.ArgumentParser(prog="python -m consensus.node", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", required=True, help="where others reach it")
    parser.add_argument("--listen", default="", help="where it listens, if not there")
    parser.add_argument("--keys", type=Path, help="a JSON file")
    parser.add_argument("--tick-ms", type=int, default=25)
    parser.add_argument("--snapshot-every", type=int, default=50_000)
    found = parser.parse_args(arguments)
    return NodeSettings(
        folder=found.folder,
        address=found.address,
        listen=found.listen,
        keys=_keys(found.keys),
        tick_ms=found.tick_ms,
        snapshot_every=found.snapshot_every,
    )


async def _run(settings: NodeSettings) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, over.set)
    node = open_node(settings)
    # What was read at the start stays: it need not be looked through again and again.
    gc.freeze()
    await node.start()
    if settings.keys.insecure:
        _log.warning("node %d has no keys: whoever reaches it may do anything", node.id)
    _log.info("node %d listens at %s", node.id, settings.address)
    await over.wait()
    await node.close()


def main() -> int:
    """Run a node until it is told to end; 70 where it cannot."""
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(_settings(sys.argv[1:])))
    except (MusterError, OSError) as error:
        sys.stderr.write(f"the node of the ledger does not start: {told(error)}\n")
        return CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
