"""The validator: opens what a brief cites and keeps only what holds."""

import asyncio

from pydantic import BaseModel

from workers.documents.model import Brief
from workers.sdk.context import Context
from workers.sdk.role import role


class ToValidate(BaseModel):
    """A draft, and the folder it cites."""

    folder: str
    brief: Brief


@role("validator", timeout=300, concurrency=2)
async def validate(work: ToValidate, ctx: Context) -> Brief:
    """Check every quote at its place and recompute every figure; drop what does not hold."""
    from workers.documents import stages

    brief = await asyncio.to_thread(stages.validate, work.folder, work.brief)
    await ctx.progress(1.0, f"{len(brief.citations)} hold, {len(brief.rejected)} rejected")
    return brief
