"""`muster up --detach`: the same in the background, its words in `.muster/up.log`."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from workers.cli import output
from workers.cli.crewing import Plan
from workers.cli.keeping import tell_trouble
from workers.cli.options import Given
from workers.fleet import standing
from workers.fleet.errors import NotReady
from workers.fleet.standing import Standing

PATIENCE = 60.0
"""Seconds until a fleet that is not ready is called so."""

_LOOK_EVERY = 0.02


def start_detached(plan: Plan, given: Given, roles: Sequence[str]) -> int:
    """Start `muster up` detached from the terminal and return when every worker is ready.

    When it ends before, its error is shown as if it were ours, and its exit code is returned.
    Raises `AlreadyUp`, and `NotReady` after a minute; the fleet is then still being tried.
    """
    state = plan.loaded.state
    with standing.alone(state):
        log = state / "up.log"
        size = log.stat().st_size if log.exists() else 0
    process = _start(plan, given, roles, log)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = standing.find(state)
        if found is not None and found.pid == process.pid and found.ready is not None:
            _show(found, plan)
            for note in found.notes:
                output.note(note)
            asyncio.run(tell_trouble(plan.loaded))
            return 0
        code = process.poll()
        if code is not None:
            return _failed(log, size, code, as_json=given.json)
        time.sleep(_LOOK_EVERY)
    raise NotReady(
        f"the fleet is not ready after {PATIENCE:g} s",
        details="some of its processes die or do not answer; they are still being tried",
        actions=(f"read {log}", "see them: `muster ps`", "end it: `muster down`"),
    )


def _start(plan: Plan, given: Given, roles: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ}
    if given.bus is not None:
        environment["MUSTER_BUS_URL"] = given.bus  # an argument would be seen by everybody
    if given.fleet is not None:
        environment["MUSTER_FLEET_NAME"] = given.fleet
    options = ["--json", "--folder", str(plan.loaded.folder)]
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.cli.main", *options, "up", *roles],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment,
            start_new_session=True,
        )


def _show(found: Standing, plan: Plan) -> None:
    counts = standing.counts(found.workers)
    if plan.json:
        output.as_json_line(
            {
                "ready": found.ready,
                "bus": found.bus,
                "history": found.history,
                "pid": found.pid,
                "workers": counts,
            }
        )
        return
    output.say(f"bus      {found.bus}\nhistory  {found.history}\ncrew     {standing.named(counts)}")
    output.say(f"ready    after {found.ready:g} s as process {found.pid}; `muster down` ends it")


def _failed(log: Path, since: int, code: int, *, as_json: bool) -> int:
    """Show the error that the background process ended with."""
    with log.open("rb") as stream:
        stream.seek(since)
        lines = stream.read().decode("utf-8", "replace").splitlines()
    error = next((found for line in reversed(lines) if (found := _error(line))), None)
    if error is None:
        raise NotReady(
            f"`muster up` ended with exit code {code}",
            details=lines[-1] if lines else "it said nothing",
            actions=(f"read {log}",),
        )
    if as_json:
        output.as_json_line(error)
    else:
        actions = "; ".join(error["actions"])
        output.note(f"error: {error['message']}\n  why: {error['details']}\n   do: {actions}")
    raise typer.Exit(code)


def _error(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "message" in found and "error" in found else None
