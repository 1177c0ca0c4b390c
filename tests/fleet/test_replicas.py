"""How a number of processes, or a range of them, is written, and what is wrong with others."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidValue
from workers.fleet.replicas import MOST, Range, parse, strongest
from workers.settings import SettingsError, load


@given(st.integers(0, MOST))
def test_a_number_is_that_number(count: int) -> None:
    assert parse(str(count)) == count


@given(st.integers(0, MOST), st.integers(1, MOST), st.none() | st.integers(1, 1000))
def test_a_range_is_written_as_it_is_shown(least: int, most: int, depth: int | None) -> None:
    wanted = Range(min=min(least, most), max=most, queue_depth=depth)
    assert parse(str(wanted), queue_depth=depth) == wanted


@given(st.text())
def test_any_text_is_a_number_or_an_error(text: str) -> None:
    try:
        found = parse(text)
    except InvalidValue:
        return
    assert isinstance(found, Range) or 0 <= found <= MOST


def test_the_greatest_holds_and_a_range_before_a_number() -> None:
    assert strongest([2, 5, 3]) == 5
    assert strongest([9, Range(max=2), Range(max=3)]) == Range(max=3)


def _settings(folder: Path, text: str) -> Any:
    (folder / "muster.toml").write_text(f"[roles.coder]\nreplicas = {text}\n", encoding="utf-8")
    return load(folder, environment={}).settings.roles["coder"].replicas


def test_settings_know_both(tmp_path: Path) -> None:
    assert _settings(tmp_path, "4") == 4
    assert _settings(tmp_path, "{ min = 1, max = 8 }") == Range(min=1, max=8)
    assert _settings(tmp_path, "{ max = 8, queue_depth = 100 }") == Range(max=8, queue_depth=100)
    table = "0\n[roles.writer.replicas]\nmin = 0\nmax = 2"
    assert _settings(tmp_path, table) == 0
    assert load(tmp_path, environment={}).settings.roles["writer"].replicas == Range(min=0, max=2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-1", "it is no number from 0 to 1000"),
        ("1001", "it is no number from 0 to 1000"),
        ("true", "it is no number from 0 to 1000"),
        ("2.5", "it is no number from 0 to 1000"),
        ('"many"', "it is no number from 0 to 1000"),
        ("{ min = 9, max = 8 }", "min is 9, which is more than max, 8"),
        ("{ min = 1 }", "max: Field required"),
        ("{ min = 1, max = 0 }", "max: Input should be greater than or equal to 1"),
        ("{ max = 8, depth = 3 }", "depth: Extra inputs are not permitted"),
        ("{ max = 8, queue_depth = 0 }", "queue_depth: Input should be greater"),
    ],
)
def test_settings_say_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _settings(tmp_path, text)
    assert caught.value.message.startswith("the setting roles.coder.replicas cannot be ")
    assert why in caught.value.details
    assert "from muster.toml" in caught.value.details
