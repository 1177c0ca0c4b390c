"""Runs programs where they find nothing of ours."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SECONDS = 60.0


async def ran(program: str, *arguments: str) -> Any:
    """What a program of this folder says."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        HERE / program,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        _, err = await process.communicate()
        pytest.fail(f"{program} did not end: {err.decode()}")
    assert process.returncode == 0, err.decode()
    return json.loads(out)
