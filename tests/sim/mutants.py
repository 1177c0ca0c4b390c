"""Every rule broken once: what is broken, and whether chance or a script shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from consensus.ledger.ledger import Ledger
from consensus.raft.core import Raft
from tests.consensus.ledger.mutants import BREAKS
from tests.consensus.raft import mutants as core
from tests.sim import disk, fleet, greeting, scripts, steps
from tests.sim.service import Service
from tests.sim.world import Build


class NoPreVote(Raft):
    """Breaks a rule on purpose: nobody is asked before a term begins."""

    def _stand(self, *, pre: bool, transfer: bool = False) -> None:  # noqa: ARG002
        super()._stand(pre=False, transfer=transfer)


class StagesAtOnce(Service):
    """Breaks a rule on purpose: parts of one snapshot take the place of another that waits."""

    def _may_stage(self) -> bool:
        return True


class RaisesUnasked(Service):
    """Breaks a rule on purpose: a leader raises the version to what it can follow itself."""

    def common_version(self) -> int:
        return self.release


class FollowsAnyVersion(Ledger):
    """Breaks a rule on purpose: an entry or a snapshot of a newer version stops nobody."""

    def _check_version(self, version: int) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A part that breaks one rule; `script` where random runs do not find that."""

    build: Build = field(default_factory=Build)
    script: Callable[[type[Raft]], None] | None = None


def _core(cls: type[Raft], script: Callable[[type[Raft]], None] | None = None) -> Mutant:
    return Mutant(Build(core=cls), script)


def _ledger(name: str) -> Mutant:
    return Mutant(Build(ledger=BREAKS[name][0]))


MUTANTS: Mapping[str, Mutant] = MappingProxyType(
    {
        "ack before sync": _core(core.AcksBeforeSync),
        "vote ignores log": _core(core.VoteIgnoresLog),
        "truncate always": _core(core.TruncatesAlways),
        "no matching check": _core(core.ChecksNoMatch),
        "forget vote at restart": Mutant(Build(disk=disk.ForgetsVote)),
        "double vote": _core(core.VotesTwice),
        "read without quorum": _core(core.ReadsWithoutQuorum, scripts.deposed_leader_reads),
        "read reply of an earlier round": _core(core.ReadsByEarlierRound, scripts.late_echo),
        "read without own-term no-op": _core(core.ReadsWithoutOwnEntry),
        "commit old-term entry": _core(core.CommitsOldTerms, scripts.figure_8),
        "commit = last index": _core(core.CommitsLastIndex, scripts.short_append),
        "self-count before durable": _core(core.CountsItselfBeforeDurable),
        "no pre-vote": _core(NoPreVote, scripts.returns_from_a_partition),
        "apply before durable": _core(core.AppliesBeforeDurable),
        "snapshot drops tail": _core(core.SnapshotDropsTail, scripts.late_snapshot),
        "two changes of members at once": _core(core.ChangesAtOnce),
        "dedupe by seq ≤ last": _ledger("dedupe by seq up to last"),
        "no dedupe": _ledger("no dedupe"),
        "award without fencing": _ledger("award without fencing"),
        "any session holds the award": _ledger("any session holds the award"),
        "reopen keeps bids": _ledger("reopen keeps bids"),
        "stale-round close": _ledger("stale-round close"),
        "expire without re-check": _ledger("expire without re-check"),
        "high-water ignored": Mutant(Build(disk=disk.IgnoresHighWater)),
        "old folder believed": Mutant(Build(greeter=greeting.BelievesOldFolders)),
        "two lives of one id believed": Mutant(Build(greeter=greeting.BelievesTwoLives)),
        "version raised unasked": Mutant(Build(node=RaisesUnasked)),
        "unknown version followed": Mutant(Build(ledger=FollowsAnyVersion)),
        "result published before complete": Mutant(Build(steps=steps.PublishesBeforeComplete)),
        "complete before the outcome is put": Mutant(Build(steps=steps.CompletesBeforePut)),
        "drained worker keeps its awards": Mutant(Build(steps=steps.KeepsItsAwards)),
        "queued although it may have been opened": Mutant(Build(steps=steps.QueuesAnyCopy)),
        "silence of bus or store taken for done": Mutant(Build(worker=fleet.TakesSilenceForDone)),
        "no watch copy": Mutant(Build(steps=steps.LeavesNoWatchCopy)),
    }
)
