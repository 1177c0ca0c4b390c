"""The whole job in one process; every value passes through JSON, as it does between roles."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from workers.documents import stages
from workers.documents.model import Brief, Selection

Value = TypeVar("Value", bound=BaseModel)


def over_the_wire(value: Value) -> Value:
    """What the next process sees of a value; it must be equal."""
    again = type(value).model_validate_json(value.model_dump_json())
    assert again == value
    return again


def find(folder: Path, question: str, workers: int = 3) -> Selection:
    """The evidence of a folder for a question."""
    plan = over_the_wire(stages.plan(folder, question, workers))
    findings = [over_the_wire(stages.research(shard)) for shard in plan.shards]
    return over_the_wire(stages.select(question, findings, plan.skipped))


def draft(folder: Path, question: str, workers: int = 3) -> Brief:
    """The brief before its validation."""
    selection = find(folder, question, workers)
    analysis = over_the_wire(stages.analyse(folder, selection))
    return over_the_wire(stages.write(selection, analysis))


def run(folder: Path, question: str, workers: int = 3) -> Brief:
    """The validated brief."""
    return over_the_wire(stages.validate(folder, draft(folder, question, workers)))
