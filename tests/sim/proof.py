"""`python -m tests.sim.proof` writes `docs/consensus-proof.md`: what finds each broken rule."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from consensus.raft.core import Raft
from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.run import name_of, nodes_of, play

PATH = Path(__file__).parent.parent.parent / "docs" / "consensus-proof.md"
MOST_SEEDS = 120
NO_INVARIANTS = frozenset({"", "progress", "catches-up"})
"""What ends a run without telling which rule is broken."""

_HEAD = """# What shows that the ledger is right

Whole clusters of three and five nodes are simulated in virtual time (`make sim`): the Raft core, a
model of the disk, the ledger, its clients and workers, and the five steps of an auction over the
in-memory bus and key-value store. Everything that can go wrong does, drawn from a seed; the
invariants are looked at after every event.

Every seed has three or five nodes (more while members change) and lives for seven to nine seconds
in which its kinds of faults strike: packets lost, doubled, reordered, late by several elections,
cuts in one or both directions between nodes and towards clients, partitions; one, most or all
nodes crash and lose what was not durable; disks are slow, hang, fail, have little or no room,
flip bits; folders are wiped, rolled back, copied; clocks are skewed and jump a day, processes
freeze, chunks of snapshots are lost; members come, go and are replaced, leadership moves,
releases are upgraded and taken back; clients and workers crash or stand still between any two
steps, workers end in order, the bus or the store is away. In one of ten seeds more may be lost
than a cluster recovers from: then it need only be safe. Else it is healed, but for a minority
that may stay down and some loss, and

* a new client's command is done within 20 election timeouts (10 s), whatever load there is;
* whatever any client was waiting for is answered, and every member that is up has all that was
  committed, each within 20 election timeouts from when the load ends;
* every task of the bus has an end within two minutes.

Not simulated: sessions that outlive their hour, 24 hours after which tasks are forgotten, backups
that are restored, a folder that goes back where nobody who knows better is in the way
([why](consensus.md#who-is-believed)), power cuts that also lose the file beside the database.

Each row breaks one rule on purpose. The run or script that is named, with the part that is broken,
ends at the invariant that is named; with the right part it comes through. Written by
`python -m tests.sim.proof`; a test plays every row again.

| broken on purpose | shown by | invariant that does not hold |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Kill:
    """A mutant, the seed or the script that ends it, and the invariant."""

    mutant: str
    shown_by: str
    invariant: str

    @property
    def row(self) -> str:
        """As it stands in the document."""
        return f"| {self.mutant} | {self.shown_by} | `{self.invariant}` |"


def by_script(mutant: Mutant, core: type[Raft]) -> str:
    """The invariant that its script breaks with this core; nothing if it comes through."""
    assert mutant.script is not None
    try:
        mutant.script(core)
    except AssertionError as error:
        return name_of(error)
    return ""


def by_seed(name: str, seed: int) -> str:
    """The invariant that a seed breaks with this mutant; nothing if it comes through."""
    return play(seed, MUTANTS[name].build).broken


def kill(name: str) -> Kill | None:
    """The script, or the first seed that shows it, where the right parts come through."""
    mutant = MUTANTS[name]
    if mutant.script is not None:
        found = by_script(mutant, mutant.build.core)
        return Kill(name, f"script {mutant.script.__name__}", found) if found else None
    for seed in range(MOST_SEEDS):
        found = by_seed(name, seed)
        if found not in NO_INVARIANTS and found[0].islower() and not play(seed).broken:
            return Kill(name, f"seed {seed}, {nodes_of(seed)} nodes", found)
    return None


def committed() -> Iterator[Kill]:
    """What the document says."""
    for line in PATH.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[2].startswith("`"):
            yield Kill(cells[0], cells[1], cells[2].strip("`"))


def text(kills: list[Kill]) -> str:
    """The document."""
    return _HEAD + "\n".join(one.row for one in kills) + "\n"


def main() -> int:
    """Write it, unless a mutant lives."""
    kills = []
    for name in MUTANTS:
        found = kill(name)
        print(found.row if found else f"LIVES: {name}", flush=True)
        kills += [found] if found else []
    if len(kills) < len(MUTANTS):
        return 1
    PATH.write_text(text(kills), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
