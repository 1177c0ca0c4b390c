"""What counts as flat."""

from tests.soak.judging import SERVER, Sample, memory, rest


def samples(seconds: float, grows: float, name: str = "worker 1") -> list[Sample]:
    """One every five seconds; `grows` MiB a minute, with a saw's teeth of a collector."""
    ats = [5.0 * n for n in range(int(seconds / 5) + 1)]
    return [Sample(at, {name: 60 + grows * at / 60 + n % 3}, 0, 0) for n, at in enumerate(ats)]


def test_a_saw_is_flat_and_a_slope_is_not() -> None:
    assert [verdict.good for verdict in memory(samples(600, 0.0))] == [True]
    assert [verdict.good for verdict in memory(samples(600, 2.0))] == [False]


def test_what_grows_while_it_gets_warm_is_not_judged() -> None:
    warm = [Sample(s.at, {SERVER: min(s.at, 170.0)}, 0, 0) for s in samples(600, 0.0)]
    assert [verdict.good for verdict in memory(warm)] == [True]
    (verdict,) = memory(samples(60, 99.0, SERVER))
    assert (verdict.good, "not judged" in verdict.found) == (True, True)


def test_a_server_goes_up_and_down_but_not_ever_higher() -> None:
    """Between 340 and 600 MiB every 150 s; or the same, each time 100 MiB higher."""
    saw = [Sample(s.at, {SERVER: 340 + s.at % 150 * 1.7}, 0, 0) for s in samples(600, 0.0)]
    assert [verdict.good for verdict in memory(saw)] == [True]
    leak = [Sample(s.at, {SERVER: s.resident[SERVER] + s.at / 150 * 100}, 0, 0) for s in saw]
    assert [verdict.good for verdict in memory(leak)] == [False]


def test_each_thing_that_is_left_is_bad() -> None:
    good = {"lost": 0, "waiting": 0, "left": {"T": 0}, "idle": 0.4, "seconds": 30.0}
    assert all(verdict.good for verdict in rest(**good))  # type: ignore[arg-type]
    for name, bad in (("lost", 1), ("waiting", 1), ("left", {"T": 1}), ("idle", 1.0)):
        assert [v.good for v in rest(**{**good, name: bad})].count(False) == 1  # type: ignore[arg-type]
