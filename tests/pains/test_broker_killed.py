"""The broker is killed in the middle of everything: nothing accepted is lost, nothing innocent
dies."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.forms import form
from tests.pains.publisher import publishing
from tests.pains.storm import LEAST, TOPICS, Ledger, Storm, bind_all


@pytest.mark.slow
@pytest.mark.long(300)
@pytest.mark.promise(1, 9, 12, 22)
async def test_a_storm_with_a_broker_that_is_killed_loses_nothing(
    own_broker: Callable[[], Broker], tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """A publisher in a process of its own; three groups with overlapping patterns, one of them
    bound anew again and again; connections dropped with what they hold. The broker is killed with
    -9 and started again, once right after a `bind` has returned."""
    kills, apart, every = form((2, 0.5, 1.5), (5, 8.0, 2.5))
    server, name = own_broker(), f"storm-{secrets.token_hex(4)}"
    arguments = (server.url, name, tmp_path)
    unfinished: list[int] = []
    await bind_all(*arguments)
    with publishing(*arguments, *TOPICS, rate=form(2_000.0, 1_500.0)) as publisher:
        ledger = Ledger(publisher)
        storm = Storm(*arguments, ledger)
        async with asyncio.timeout(form(60, 280)), storm.blowing(every):
            for number in range(kills):
                await storm.piled_up()
                if number == 0:
                    await storm.rebind()
                unfinished.append(ledger.unfinished())
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await storm.goes_on()
                await asyncio.sleep(apart)  # between two kills the storm goes on
            accepted = publisher.stop()
            await storm.blow_over()
        letters = await storm.dead()
    happened(
        f"accepted {accepted}, owed {ledger.owed()}, kills {kills} with {unfinished} unfinished, "
        f"connections dropped {ledger.drops}, lost {len(ledger.lost())}, settled twice "
        f"{ledger.doubles()}, dead letters {len(letters)}"
    )
    assert min(unfinished) >= LEAST
    assert ledger.lost() == []
    assert letters == []
