"""The researcher: finds the passages and tables of some files that meet a question."""

import asyncio

from workers.documents.model import Findings, Shard
from workers.sdk.context import Context
from workers.sdk.role import role


@role("researcher", timeout=300, concurrency=1)
async def research(shard: Shard, ctx: Context) -> Findings:
    """Find what meets the question in one part of a folder, with exact places."""
    part, files = f"part {shard.number} of {shard.of}", len(shard.files)
    await ctx.progress(0.0, f"{part}: reads {files} files")
    found = await asyncio.to_thread(_found, shard)
    await ctx.progress(1.0, f"{part}: {files} files, {len(found.passages)} passages")
    return found


def _found(shard: Shard) -> Findings:
    """Imports in the thread too: what was told above leaves meanwhile."""
    from workers.documents import stages

    return stages.research(shard)
