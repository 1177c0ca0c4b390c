"""Celery: one prefork process, late acknowledgement so that a killed worker loses nothing, no
results, 50 prefetched."""

from typing import Any

from celery import Celery

from tests.bench.side_by_side.adapters import counting

app = Celery("for_celery", broker=counting.URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=50,
    broker_connection_retry_on_startup=True,
)
_counting = counting.Counting()


@app.task(name="noop")
def noop(payload: Any) -> None:
    """Count."""
    _counting.seen()


if __name__ == "__main__":
    counting.by_threads(noop.delay)
