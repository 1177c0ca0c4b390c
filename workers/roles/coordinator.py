"""The coordinator: has a question answered from a folder of documents by the other roles."""

import asyncio

from pydantic import BaseModel, Field

from workers.documents.model import Analysis, Brief, Findings, Plan, Selection
from workers.roles.analyst import ToAnalyse
from workers.roles.validator import ToValidate
from workers.roles.writer import ToWrite
from workers.sdk.context import Context
from workers.sdk.role import role


class Job(BaseModel):
    """A question and the folder that may answer it, readable by every worker at this path."""

    folder: str
    question: str = Field(min_length=1, max_length=2000)
    researchers: int = Field(default=4, ge=1, le=256)


@role("coordinator", listens="brief.request", timeout=900, concurrency=4)
async def coordinate(job: Job, ctx: Context) -> Brief:
    """Answer a question from a folder of documents with a validated brief."""
    await ctx.progress(0.0, "plans")
    plan = await asyncio.to_thread(_plan, job)
    await ctx.progress(0.05, f"{plan.file_count} files for {len(plan.shards)} researchers")
    selection = await _research(plan, ctx)
    chosen = sum(len(part.findings) for part in selection.parts)
    await ctx.progress(0.6, f"{chosen} passages and {len(selection.tables)} tables chosen")
    to_analyse = ToAnalyse(folder=plan.folder, selection=selection)
    analysis = await ctx.call("analyst", to_analyse, returns=Analysis)
    await ctx.progress(0.75, f"{len(analysis.figures)} figures computed")
    draft = await ctx.call("writer", ToWrite(selection=selection, analysis=analysis), returns=Brief)
    await ctx.progress(0.85, f"draft with {len(draft.citations)} citations")
    brief: Brief = await ctx.call(
        "validator", ToValidate(folder=plan.folder, brief=draft), returns=Brief
    )
    await ctx.progress(1.0, f"{brief.status}, {len(brief.citations)} citations hold")
    return brief


def _plan(job: Job) -> Plan:
    """Imports in the thread too: what was told above leaves meanwhile."""
    from workers.documents import stages

    return stages.plan(job.folder, job.question, job.researchers)


async def _research(plan: Plan, ctx: Context) -> Selection:
    """Have every shard read in parallel, then choose among all that was found."""
    from workers.documents import stages

    calls = (ctx.call("researcher", shard, returns=Findings) for shard in plan.shards)
    findings = await asyncio.gather(*calls)
    return await asyncio.to_thread(stages.select, plan.question, findings, plan.skipped)
