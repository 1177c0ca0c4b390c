"""Structured logs, for people or for machines; to standard error, never to standard output.

Lines of structlog and of the standard `logging` look the same. What is written while a handler runs
tells its task, role, attempt and trace, wherever its context goes: into tasks, and into threads
started by `asyncio.to_thread` or the loop's executor. No line tells a password or a token.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal

import structlog

from contracts.envelope import Envelope
from workers.telemetry.masking import mask_fields, mask_line
from workers.telemetry.tracing import trace_of

Style = Literal["pretty", "json"]
Level = Literal["debug", "info", "warning", "error"]
Said = tuple[Envelope, str, Mapping[str, str]]
_Fields = MutableMapping[str, Any]

NO_IDS: Mapping[str, str] = MappingProxyType({})

LABELS: ContextVar[Said | None] = ContextVar("muster_labels", default=None)
"""The run under way: its task, its role, the ids of its span if it has one."""

_CHATTY = ("asyncio", "nats", "opentelemetry", "requests", "urllib3")
"""Loggers of libraries, heard from warnings on."""


def labels() -> dict[str, object]:
    """What every line of the run under way says besides what was written."""
    said = LABELS.get()
    if said is None:
        return {}
    task, role, ids = said
    told: dict[str, object] = {"task": task.id, "role": role, "attempt": task.attempt + 1}
    trace = trace_of(task.extra)
    return {**told, **({"trace_id": trace} if trace else {}), **ids}


def configure_logs(*, style: Style, level: Level) -> None:
    """Set up logging for this process; once, at its start."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_labels,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: list[Any] = [mask_fields, _renderer(style), mask_line]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _configure_standard(number, shared, last)
    logging.captureWarnings(style == "json")


def _configure_standard(number: int, shared: list[Any], last: list[Any]) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            *shared,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=number, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _renderer(style: Style) -> Any:
    if style == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _add_labels(_: Any, __: str, fields: _Fields) -> _Fields:
    for name, value in labels().items():
        fields.setdefault(name, value)
    return fields
