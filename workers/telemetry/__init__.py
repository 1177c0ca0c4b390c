"""What a process tells about itself: log lines, figures and traces."""

from workers.telemetry.logs import configure_logs

__all__ = ["configure_logs"]
