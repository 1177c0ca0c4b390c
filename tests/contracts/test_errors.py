"""An error says what happened, why, and what to do: to people and to programs."""

from contracts.errors import DecodeError, MusterError


class Away(MusterError):
    retryable = True


def test_the_three_lines_are_what_why_and_what_to_do() -> None:
    error = MusterError("it broke", details="the cable is out", actions=("plug it in", "wait"))
    assert error.lines() == ("it broke", "the cable is out", "plug it in; wait")
    assert str(error) == "it broke (the cable is out)"
    assert str(MusterError("it broke")) == "it broke"


def test_a_program_reads_the_same_as_json() -> None:
    assert Away("no answer", details="d", actions=["a"], retry_after=2.5).as_json() == {
        "error": "Away",
        "message": "no answer",
        "details": "d",
        "actions": ["a"],
        "retryable": True,
        "retry_after": 2.5,
    }
    assert MusterError("x").as_json()["retryable"] is False


def test_a_decode_error_names_its_field() -> None:
    error = DecodeError("ce-id", "is missing")
    assert (error.field, error.reason) == ("ce-id", "is missing")
    assert error.lines()[0] == "the message is not a muster envelope: ce-id is missing"
    assert "muster dlq show" in error.lines()[2]
