"""What keeps the spans of this process: somebody else's provider, or one of ours."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workers.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from workers.telemetry.exporting import Exported


def provider_in_use() -> "TracerProvider | None":
    """The provider that this process has set for itself, without importing anything."""
    api = sys.modules.get("opentelemetry.trace")
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if api is None or sdk is None:
        return None
    found = api.get_tracer_provider()
    return found if isinstance(found, sdk.TracerProvider) else None


def provided(
    settings: TelemetrySettings, system: str, who: Mapping[str, str], *, everywhere: bool
) -> "Exported":
    """Spans that go to the collector which is configured; `everywhere`: those of the whole process,
    such as handlers make."""
    from opentelemetry.trace import set_tracer_provider

    from workers.telemetry.exporting import exported

    endpoint = settings.otlp and settings.otlp.rstrip("/") + "/v1/traces"
    found = exported(who, system, endpoint=endpoint, sample=settings.sample)
    if everywhere:
        set_tracer_provider(found.provider)
    return found
