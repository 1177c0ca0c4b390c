"""The section `history` of the settings."""

from pydantic import BaseModel, ConfigDict

NONE = "none"
"""The `url` of a fleet that keeps no history."""


class HistorySettings(BaseModel):
    """`url` None: the embedded PostgreSQL of this folder; `none`: nothing is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
