"""The writer: assembles a brief from passages and figures."""

import asyncio

from pydantic import BaseModel

from workers.documents.model import Analysis, Brief, Selection
from workers.sdk.context import Context
from workers.sdk.role import role


class ToWrite(BaseModel):
    """What the brief is made of; nothing else gets into it."""

    selection: Selection
    analysis: Analysis


@role("writer", timeout=120, concurrency=2)
async def write(work: ToWrite, ctx: Context) -> Brief:
    """Assemble a brief with numbered citations."""
    from workers.documents import stages

    brief = await asyncio.to_thread(stages.write, work.selection, work.analysis)
    await ctx.progress(1.0, f"{len(brief.citations)} citations")
    return brief
