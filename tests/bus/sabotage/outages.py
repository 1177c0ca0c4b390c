"""Promise 16: the broker is away, a process does not notice or does not go on."""

import asyncio
from collections.abc import Sequence

from typing_extensions import override

from bus.backend import Delivery, Lane, Turn
from bus.backends.memory import MemoryBackend
from bus.contact import Contact
from bus.errors import Unreachable
from tests.bus.sabotage.registry import breaks
from workers.engine.worker import Worker
from workers.health.watch import Watch

NOTICED = "test_a_broker_that_is_away_is_noticed_and_so_is_its_return"
BACK = "test_work_goes_on_within_five_seconds_of_a_cut_network"


@breaks(16, NOTICED)
class RefusalIsAnAnswer(Contact):
    """An error is taken for an answer of the broker."""

    @override
    async def _question(self) -> None:
        await super()._question()
        self.heard()


@breaks(16, "test_an_idle_pull_is_not_taken_for_a_broker_that_is_away")
class NobodyAsks(Contact):
    """A broker that has nothing to say is taken for one that is away."""

    @override
    async def _question(self) -> None:
        return


@breaks(16, BACK, "test_a_broker_that_goes_away_under_load_loses_nothing")
class PullHangsAfterACut(MemoryBackend):
    """A pull that was under way when the network was cut never returns."""

    @override
    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        try:
            return await super().pull(group, lanes, limit=limit, wait=wait)
        except Unreachable:
            await asyncio.Event().wait()
            raise


@breaks(16, "test_without_the_broker_it_is_not_ready_after_five_seconds")
class AlwaysReady(Watch):
    """A process is ready once its roles are bound, whatever becomes of the broker."""

    @override
    def _reasons(self) -> list[str]:
        return []


@breaks(16, "test_what_cannot_be_pulled_or_renewed_is_not_ready_after_five_seconds")
class OnlyTheBrokerCounts(Watch):
    """A process that cannot pull is ready as long as the broker answers."""

    @override
    def _look(self, post: object, seconds: float) -> None:
        return


@breaks(16, "test_it_gives_up_when_the_broker_stays_away")
class WaitsForEver(Watch):
    """A process waits for its broker for ever."""

    @property
    @override
    def away(self) -> float:
        return 0.0


@breaks(16, "test_a_worker_that_cannot_pull_says_why")
class QuietWorker(Worker):
    """A worker that cannot pull says that all is well."""

    @override
    def trouble(self) -> str:
        return ""
