"""The sections `log` and `telemetry` of the settings."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class LogSettings(BaseModel):
    """How log lines look: `pretty` for people, `json` for machines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["pretty", "json"] = "pretty"
    level: Literal["debug", "info", "warning", "error"] = "info"


class TelemetrySettings(BaseModel):
    """`otlp`: base URL of a collector that takes OTLP over HTTP; spans go to its `/v1/traces`.
    None: what the standard OTEL_… variables say, and without those no span is made. `sample`: the
    share of traces that are kept, of those that begin here; None: what OTEL_TRACES_SAMPLER says,
    all by default. `tenants`: how many of them have figures of their own on `/metrics`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    otlp: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")] | None = None
    sample: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    tenants: Annotated[int, Field(ge=0, le=10_000)] = 50
