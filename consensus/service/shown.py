"""An auction as a JSON object, for whoever reads it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from contracts.auctions import Auction, AwardShown, BidShown, Phase, RoundShown


def shown(auction: Auction) -> dict[str, Any]:
    """All of it; bytes as hexadecimal digits."""
    found = asdict(auction)
    found["result_hash"] = auction.result_hash.hex()
    for bid in (found["last_round"] or {}).get("bids", ()):
        bid["parts"] = bid["parts"].hex()
    return found


def auction_of(body: Mapping[str, Any]) -> Auction:
    """What `shown` made; `ValueError` for anything else."""
    try:
        found = dict(body)
        found["phase"] = Phase(found["phase"])
        found["asked"] = tuple(found["asked"])
        found["result_hash"] = bytes.fromhex(found["result_hash"])
        found["award"] = AwardShown(**found["award"]) if found["award"] else None
        found["last_round"] = _round_of(found["last_round"]) if found["last_round"] else None
        return Auction(**found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an auction: {error!r}") from error


def _round_of(body: Mapping[str, Any]) -> RoundShown:
    bids = tuple(BidShown(**{**bid, "parts": bytes.fromhex(bid["parts"])}) for bid in body["bids"])
    return RoundShown(**{**body, "bids": bids})
