"""What the broker says when it refuses, as errors of the bus. Pure."""

from collections.abc import Mapping
from typing import Any

import nats.errors
from nats.js.errors import APIError

from bus.errors import AccessDenied, BusError, Conflict, Full, TooLarge, Unreachable, Unsafe

NOT_FOUND = frozenset({10014, 10059})
"""Consumer, stream not found."""

NAME_TAKEN = 10058
"""A stream of this name has another configuration."""

WRONG_LAST = frozenset({10071, 10164})
"""The last sequence of a subject is not the expected one."""

KNOWN_KEY = 10201
"""A batch holds a message id that is known."""

NOT_BEGUN = frozenset({10176, 10210, 10211})
"""Nothing of a batch was kept: its beginning is unknown, for the server was killed meanwhile or had
too many open ones then, on this stream or at all."""

_FULL = frozenset({10077, 10047, 10023, 10028, 10026, 10027, 10054, 10056, 10068})
_BUSY = frozenset({10008, 10039, 10076, 10118, 10202, 10200})
_TOO_LARGE = frozenset({10054})


def refusal(error: Mapping[str, Any], doing: str) -> BusError:
    """The error to raise for an `error` object of an answer; its cause holds the code."""
    cause = APIError(
        code=error.get("code"), description=error.get("description"), err_code=error.get("err_code")
    )
    raised = _refusal(error, doing)
    raised.__cause__ = cause
    return raised


def _refusal(error: Mapping[str, Any], doing: str) -> BusError:
    code = error.get("err_code", 0)
    said = f"{error.get('description', 'no reason given')} (NATS error {code})"
    if code in _TOO_LARGE:
        return TooLarge(f"NATS takes no message of this size: {doing}", details=said)
    if code in _FULL:
        return Full(
            f"the broker is full: {doing}",
            details=said,
            actions=("let workers finish what waits", "give the stream more room"),
        )
    if code in WRONG_LAST:
        return Conflict(f"changed by somebody else: {doing}", details=said)
    if code in _BUSY or code in NOT_BEGUN or error.get("code") == 503:
        return unreachable(doing, said)
    return Unsafe(
        f"the broker refused: {doing}",
        details=said,
        actions=("run `muster doctor`", "use a NATS server from 2.12 on"),
    )


def code_of(error: BaseException) -> int:
    """The NATS code behind an error of `refusal`, else 0."""
    cause = error.__cause__
    return (cause.err_code or 0) if isinstance(cause, APIError) else 0


def unreachable(doing: str, why: str) -> Unreachable:
    """The broker gave no answer that counts."""
    return Unreachable(
        f"the broker did not answer: {doing}",
        details=why,
        actions=("repeat it: the same keys are safe", "look whether the NATS server runs"),
    )


def denied(text: str) -> bool:
    """Whether an error text of the server is about credentials or permissions."""
    return refuses_login(text) or "permissions violation" in text.lower()


def refuses_login(text: str) -> bool:
    """Whether it is about credentials; a server that had no time for them says nothing of them."""
    low = text.lower()
    return ("authorization" in low or "authentication" in low) and "timeout" not in low


def of_client(error: Exception, doing: str) -> BusError:
    """The error to raise for one of the client library or the socket."""
    if denied(str(error)):
        raised: BusError = AccessDenied(
            f"the broker refused access: {doing}",
            details=str(error),
            actions=("check user, password or token in the url of the bus",),
        )
    elif isinstance(error, nats.errors.MaxPayloadError):
        raised = TooLarge(f"over the broker's max_payload: {doing}", details=str(error))
    else:
        raised = unreachable(doing, str(error) or type(error).__name__)
    raised.__cause__ = error
    return raised
