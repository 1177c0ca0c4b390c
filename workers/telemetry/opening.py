"""Whether this process traces, and how: as the settings and the standard variables say.

OpenTelemetry is imported where spans are made and nowhere else: a worker without a collector
neither loads it nor pays for it.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec

import structlog

from workers.settings import SettingsError
from workers.telemetry.borrowing import Borrowed
from workers.telemetry.providers import provided, provider_in_use
from workers.telemetry.settings import TelemetrySettings
from workers.telemetry.tracing import INSTRUMENTATION, NoTracing, Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_log = structlog.get_logger("muster.telemetry")


def resource(fleet: str, instance: str) -> dict[str, str]:
    """The attributes by which a process is known to a collector."""
    return {
        "service.name": "muster",
        "service.namespace": fleet,
        "service.instance.id": instance,
    }


def open_tracing(settings: TelemetrySettings, system: str, who: Mapping[str, str]) -> Tracing:
    """The tracing of a worker process, whose roles are imported. A provider that one of them has
    set is used; else spans are sent to the collector that is configured, those that handlers make
    too. Raises `SettingsError` when `telemetry.otlp` is set and cannot be followed."""
    theirs = provider_in_use()
    if theirs is not None:
        from workers.telemetry.spans import Spans

        return Spans(theirs.get_tracer(INSTRUMENTATION), system, who.get("service.instance.id", ""))
    if not _wanted(settings):
        return NoTracing()
    return provided(settings, system, who, everywhere=True)


def open_client_tracing(
    settings: TelemetrySettings, system: str, who: Mapping[str, str]
) -> Tracing:
    """The tracing of whoever only publishes: a provider that the process has set, or sets later, is
    used; else what is published here is told to the collector that is configured."""
    if provider_in_use() is not None or not _wanted(settings):
        return Borrowed(system)
    return provided(settings, system, who, everywhere=False)


def _wanted(settings: TelemetrySettings) -> bool:
    environment = os.environ
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    off = off or environment.get("OTEL_TRACES_EXPORTER") == "none"
    asked = next((name for name in _ENDPOINTS if environment.get(name)), "")
    if off or not (settings.otlp or asked):
        return False
    if _installed():
        return True
    if settings.otlp:
        raise SettingsError(
            "traces cannot be sent",
            details="telemetry.otlp is set, and the extra `otel` is not installed",
            actions=("install it: pip install 'muster[otel]'", "or leave telemetry.otlp out"),
        )
    _log.warning("no traces are sent: the extra `otel` is not installed", asked_by=asked)
    return False


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even what would hold it
        return False
