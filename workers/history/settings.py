"""The section `history` of the settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NONE = "none"
"""The `url` of a fleet that keeps no history."""

_Days = Annotated[int, Field(ge=1, le=400)]


class HistorySettings(BaseModel):
    """`url` None: the embedded PostgreSQL of this folder; `none`: nothing is kept. The others are
    days for which each kind is kept: `tasks` with their runs, `letters` of the dead, `audit` of
    what operators did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    tasks: _Days = 90
    results: _Days = 30
    events: _Days = 14
    letters: _Days = 180
    usage: _Days = 400
    audit: _Days = 400
