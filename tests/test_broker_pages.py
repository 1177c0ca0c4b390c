"""The pages of the brokers can be read side by side."""

import re
from pathlib import Path

import pytest

from deploy.brokers import BROKERS

PAGES = Path(__file__).resolve().parents[1] / "docs" / "brokers"

SECTIONS = (
    "Settings",
    "What muster makes",
    "To look",
    "How the promises are kept",
    "What to mind",
    "On the wire",
    "What is emulated, and what it costs",
    "Capacity and limits",
)


@pytest.mark.parametrize("name", BROKERS)
def test_each_page_has_the_same_sections_in_the_same_order(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
