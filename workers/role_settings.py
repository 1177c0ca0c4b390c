"""The sections `roles` and `limits` of the settings."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from contracts.errors import InvalidValue
from contracts.limits import parse_rate
from workers.fleet.replicas import Replicas


class Section(BaseModel):
    """A part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_rate(text: str) -> str:
    try:
        parse_rate(text)
    except InvalidValue as error:
        raise ValueError(f"{error.details}; {error.actions[0]}") from error
    return text


_Rate = Annotated[str, AfterValidator(_is_rate)]
_Burst = Annotated[int, Field(ge=1, le=1_000_000)]


class _Limited(Section):
    """`rate` such as `10/s`; up to `burst` tasks start at once after a pause (1 if not set)."""

    rate: _Rate | None = None
    burst: _Burst | None = None

    @model_validator(mode="after")
    def _burst_belongs_to_a_rate(self) -> Self:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst belongs to a rate, and there is none")
        return self


_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RoleSettings(_Limited):
    """`replicas`: worker processes in the fleet until somebody scales the role. The rest overrides
    what the role says itself: `concurrency` of one process, `rate` and `max_running` of the whole
    fleet, and how its tasks are retried, in seconds (see `workers.sdk.declaring.Options`)."""

    replicas: Replicas = 1
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_running: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    timeout: _Seconds | None = None
    backoff: _Seconds | None = None
    backoff_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    backoff_cap: _Seconds | None = None
    backoff_jitter: Annotated[float, Field(ge=0, le=1)] | None = None


class TenantSettings(_Limited):
    """What a tenant may over all roles: `rate` and `concurrency` of what runs, `quota` of what is
    published, such as `10000/day`."""

    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    quota: _Rate | None = None


class LimitSettings(Section):
    """Limits by tenant; `*` is each one that is not named."""

    tenants: dict[str, TenantSettings] = {}
