"""A fleet whose processes trace, and roles that can be told apart in a trace."""

import secrets
from pathlib import Path

from contracts.clock import SystemClock
from workers.reporting import client_tracing
from workers.settings import Loaded, load
from workers.wiring import Fleet, open_bus

ROLES = '''\
"""Roles whose runs can be told apart in a trace."""

import os
import signal

from opentelemetry import trace
from pydantic import BaseModel

from workers import Context, role


class Work(BaseModel):
    fail: int = 0
    crash: int = 0


@role("asker", listens="ask.#", attempts=4, backoff=0.01)
async def asker(work: Work, ctx: Context) -> int:
    with trace.get_tracer("agent").start_as_current_span("think"):
        if ctx.attempt <= work.fail:
            raise ValueError(f"attempt {ctx.attempt} thinks nothing of it")
        if ctx.attempt <= work.crash:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await ctx.call("answerer", {})
        await ctx.publish("told.x", {})
    return int(answer)


@role("answerer", listens="answer.#")
async def answerer(work: Work, ctx: Context) -> int:
    return 42


@role("apart", listens="told.#", isolation="process")
async def apart(work: Work, ctx: Context) -> None:
    with trace.get_tracer("agent").start_as_current_span("inside"):
        await ctx.call("answerer", {})


@role("refuser", listens="refuse.#", attempts=1)
async def refuser(work: Work, ctx: Context) -> None:
    raise RuntimeError("never")
'''


class Scene:
    """A fleet whose processes all trace to one collector."""

    def __init__(self, url: str, folder: Path, otlp: str) -> None:
        self.name = f"trace-{secrets.token_hex(4)}"
        self.url = url
        self.place = (url, self.name, folder)
        self.folder = folder
        self.roles = folder / "roles"
        self.roles.mkdir()
        (self.roles / "roles.py").write_text(ROLES, encoding="utf-8")
        self.more = {"MUSTER_TELEMETRY_OTLP": otlp}

    def loaded(self, *, otlp: str | None = None) -> Loaded:
        flags = {"bus.url": self.url, "fleet.name": self.name, "telemetry.otlp": otlp}
        return load(self.folder, flags=flags, environment={})

    async def client(self, *, otlp: str | None = None) -> Fleet:
        loaded = self.loaded(otlp=otlp)
        return Fleet(await open_bus(loaded), SystemClock(), tracing=client_tracing(loaded))
