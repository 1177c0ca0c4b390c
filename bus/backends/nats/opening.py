"""Opens a fleet's connection to NATS, with everything that uses it."""

from functools import partial

from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from bus.backends.nats.examine import examine
from bus.keyvalue.nats import NatsKeyValue
from bus.opening import Parts, Terms


async def open_parts(terms: Terms) -> Parts:
    """Backend and store on one connection. Raises as `connect` does."""
    link = await connect(
        terms.url,
        fleet=terms.fleet,
        lease=terms.lease,
        slices=terms.slices,
        clock=terms.clock,
        name=terms.name,
        connect_timeout=terms.patience,
        max_bytes=terms.max_bytes,
        lockouts=terms.lockouts,
    )
    return Parts(NatsBackend(link), NatsKeyValue(link), link.close, partial(examine, link))
