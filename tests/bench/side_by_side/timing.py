"""Runs one library: its tasks are published, then one worker process of it is started and timed."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.servers import ROOT
from tests.bench.side_by_side.libraries import OURS, Library, python_of

_PATIENCE = 150.0
"""Seconds that its worker may take."""

FLEET = "bench"


def published(library: Library, url: str, tasks: int) -> float:
    """Publish the tasks; how many a second."""
    command = [python_of(library), "-m", library.adapter]
    done = subprocess.run(
        command,
        env=_environment(library, url, tasks),
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout.split()[-1])


def worked(library: Library, url: str, tasks: int) -> float:
    """Work them off in one worker process; how many a second, from the first call to the last."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        out = Path(folder) / "out.json"
        environment = {**_environment(library, url, tasks), "BENCH_OUT": str(out)}
        log = (Path(folder) / "log").open("wb")
        process = subprocess.Popen(
            [python_of(library), *library.work],
            env=environment,
            cwd=folder if library is OURS else ROOT,
            stdout=log,
            stderr=log,
        )
        try:
            return tasks / _seconds(process, out)
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def _seconds(process: "subprocess.Popen[bytes]", out: Path) -> float:
    """Seconds from the first to the last, which it writes down."""
    end = time.monotonic() + _PATIENCE
    while not out.exists():
        ended = process.poll() is not None and not out.exists()
        if ended or time.monotonic() > end:
            raise RuntimeError(f"its worker ended, or takes too long: {process.args!r}")
        time.sleep(0.05)
    said = json.loads(out.read_text(encoding="utf-8"))
    return float(said["last"] - said["first"])


def _environment(library: Library, url: str, tasks: int) -> dict[str, str]:
    own = {"BENCH_URL": url, "BENCH_TASKS": str(tasks), "PYTHONPATH": str(ROOT)}
    ours = {
        "MUSTER_BUS_URL": url,
        "MUSTER_FLEET_NAME": FLEET,
        "MUSTER_ROLES": str(Path(__file__).parent / "adapters" / "for_muster.py"),
        "MUSTER_LOG_LEVEL": "warning",
    }
    return {**os.environ, **own, **(ours if library is OURS else {})}
