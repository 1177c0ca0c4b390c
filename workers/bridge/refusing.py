"""Why a broker outside does not let a bridge in, as one error that says what to do."""

import ssl
from collections.abc import Iterator

from bus.errors import AccessDenied, Unreachable
from contracts.errors import MusterError
from workers.bridge.errors import BridgeError
from workers.bridge.places import Place
from workers.bridge.wire import Wire

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"


def meaning(error: Exception, place: Place, wire: Wire) -> MusterError:
    """What the error of a client says of `place`. Nothing of it is a password."""
    if isinstance(error, MusterError):
        return error
    chain = list(_chain(error))
    said = f"{type(error).__name__}: {error}"
    if any(isinstance(each, ssl.SSLError) or _UNTRUSTED in str(each) for each in chain):
        return BridgeError(
            f"the certificate of the broker outside is not trusted: {place.shown}",
            details=str(error),
            actions=("name the file of its authority: ?cafile=/path/to/ca.pem",),
        )
    if any(isinstance(each, wire.denials) for each in chain):
        return AccessDenied(
            f"the broker outside refuses the login or a permission: {place.shown}",
            details=said,
            actions=("correct user and password in its address, or what that user may do",),
        )
    if isinstance(error, (OSError, *wire.absences)):
        return Unreachable(
            f"the broker outside does not answer: {place.shown}",
            details="in time" if isinstance(error, TimeoutError) else repr(error),
            actions=("start it", "or correct the address"),
        )
    return BridgeError(
        f"the broker outside refuses: {place.shown}",
        details=said,
        actions=("see that the place is there and may be used, then start the bridge again",),
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """It and what it came from. One may come from itself: clients raise what they kept."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
