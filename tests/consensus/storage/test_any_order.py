"""Whatever a core asks for, in any order and over any number of lives: a store is what it says."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.storage.opening import open_store, verify_folder
from tests.consensus.storage.readies import SMALL, Model, begin, draw, image, state_in, state_of


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), lives=st.lists(st.integers(0, 25), min_size=1, max_size=4))
def test_a_store_holds_what_the_model_holds(seed: int, lives: list[int]) -> None:
    """Each life begins after a clean end, or on the files of one that just ended anywhere."""
    rng = random.Random(seed)
    top = Path(tempfile.mkdtemp())
    try:
        folder, model = begin(top / "0"), Model()
        for life, writes in enumerate(lives, 1):
            store = open_store(folder, incarnation=life, limits=SMALL)
            assert state_in(store) == model.state()
            for _ in range(writes):
                drawn = draw(model, rng)
                before = store.seq
                assert drawn.write(store) == before + 1
                store.drop_snapshots(())
                model.apply(drawn.ready)
            assert (store.snapshot, store.verify().entries) == (model.snapshot, len(model.entries))
            killed = image(folder, top / f"{life}") if rng.random() < 0.5 else None
            store.close()
            folder = killed or folder
            assert state_of(verify_folder(folder)) == model.state()
    finally:
        shutil.rmtree(top)
