"""The analyst: computes figures from the tables that were found."""

import asyncio

from pydantic import BaseModel

from workers.documents.model import Analysis, Selection
from workers.sdk.context import Context
from workers.sdk.role import role


class ToAnalyse(BaseModel):
    """What was chosen, and the folder whose tables it names."""

    folder: str
    selection: Selection


@role("analyst", timeout=300, concurrency=2)
async def analyse(work: ToAnalyse, ctx: Context) -> Analysis:
    """Compute the figures a question asks for, each with a recipe anyone can repeat."""
    from workers.documents import stages

    analysis = await asyncio.to_thread(stages.analyse, work.folder, work.selection)
    await ctx.progress(1.0, f"{len(analysis.figures)} figures")
    return analysis
