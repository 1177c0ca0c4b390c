"""The section `health` of the settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class HealthSettings(BaseModel):
    """Where a worker process answers probes; `port` 0 is any free one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
