"""The researcher: finds the passages and tables of some files that meet a question."""

import asyncio

from workers.documents.model import Findings, Shard
from workers.sdk.context import Context
from workers.sdk.role import role


@role("researcher", timeout=300, concurrency=1)
async def research(shard: Shard, ctx: Context) -> Findings:
    """Find what meets the question in one part of a folder, with exact places."""
    from workers.documents import stages

    found = await asyncio.to_thread(stages.research, shard)
    note = f"{len(shard.files)} files, {len(found.passages)} passages"
    await ctx.progress(1.0, f"part {shard.number} of {shard.of}: {note}")
    return found
