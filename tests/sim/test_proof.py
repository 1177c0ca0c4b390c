"""Each mutant ends at the invariant that the proof names, and what is right comes through."""

import pytest

from consensus.raft.core import Raft
from tests.sim import proof
from tests.sim.mutants import MUTANTS
from tests.sim.run import play

KILLS = [*proof.committed()]


def test_the_document_is_that_of_the_mutants_there_are() -> None:
    written = proof.PATH.read_text(encoding="utf-8")
    assert [kill.mutant for kill in KILLS] == [*MUTANTS]
    assert written == proof.text(KILLS), "run `python -m tests.sim.proof` and commit the document"


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.mutant)
def test_a_mutant_ends_at_the_invariant_that_is_named(kill: proof.Kill) -> None:
    mutant = MUTANTS[kill.mutant]
    if mutant.script is not None:
        assert proof.by_script(mutant, Raft) == ""
        assert proof.by_script(mutant, mutant.build.core) == kill.invariant
    else:
        seed = int(kill.shown_by.split()[1].rstrip(","))
        assert play(seed).broken == ""
        assert proof.by_seed(kill.mutant, seed) == kill.invariant
