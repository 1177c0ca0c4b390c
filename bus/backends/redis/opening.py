"""Opens a fleet's connections to Redis, with everything that uses them."""

from functools import partial

from bus.backends.redis.backend import RedisBackend
from bus.backends.redis.connect import connect
from bus.backends.redis.examine import examine
from bus.keyvalue.redis import RedisKeyValue
from bus.opening import Parts, Terms


async def open_parts(terms: Terms) -> Parts:
    """Backend and store on one link. Raises as `connect` does."""
    link = await connect(terms)
    return Parts(RedisBackend(link), RedisKeyValue(link), link.close, partial(examine, link))
