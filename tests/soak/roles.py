"""The role that is soaked: it does nothing, as fast as it can."""

from pydantic import BaseModel

from workers import Context, role


class Nothing(BaseModel):
    """A payload of a usual size."""

    pad: str = ""


@role("soaker", listens="soak.#", concurrency=100)
async def soaker(payload: Nothing, ctx: Context) -> None:
    """Return at once."""
