"""What `docs/testing.md` shows works as it stands."""

import asyncio
import re
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.promises import ROOT


def test_the_worked_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    module = ModuleType("documented")
    monkeypatch.setitem(sys.modules, "documented", module)
    given: dict[str, Any] = vars(module)
    exec(compile(code, "docs/testing.md", "exec"), given)  # noqa: S102 - it is our own page
    assert asyncio.iscoroutinefunction(given["main"])
