"""Divide files into shards that take about equally long to read."""

from collections.abc import Sequence

from workers.documents.model import FileInfo, Kind, Shard

MOST_FILES = 1000  # in one shard, so that it fits one message

# Relative time to read and match a byte, measured: text 1.
COST: dict[Kind, int] = {
    "text": 1,
    "markdown": 4,
    "html": 4,
    "delimited": 5,
    "source": 8,
    "json": 8,
    "pdf": 30,
}


def divide(
    folder: str, question: str, files: Sequence[FileInfo], workers: int
) -> tuple[Shard, ...]:
    """Longest job first to the least loaded shard (Graham's LPT rule, 1969)."""
    number = max(1, min(workers, len(files)), -(-len(files) // MOST_FILES))
    loads = [0] * number
    shares: list[list[FileInfo]] = [[] for _ in range(number)]
    for file in sorted(files, key=lambda f: (-_cost(f), f.file)):
        open_shards = [i for i in range(number) if len(shares[i]) < MOST_FILES]
        target = min(open_shards, key=lambda i: (loads[i], i))
        loads[target] += _cost(file)
        shares[target].append(file)
    return tuple(
        Shard(
            folder=folder,
            question=question,
            number=index,
            of=number,
            files=tuple(sorted(share, key=lambda f: f.file)),
        )
        for index, share in enumerate(shares, 1)
    )


def _cost(file: FileInfo) -> int:
    return file.size * COST[file.kind] + 2000
