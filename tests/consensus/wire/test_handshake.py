"""Nobody is believed without the key of its kind; each refusal says why."""

from dataclasses import replace

import pytest

from consensus.wire.errors import BadKey, Refused, Unreadable, Why
from consensus.wire.handshake import Handshake
from consensus.wire.hello import Hello, Party, Speaker, encode_hello
from consensus.wire.keys import Keys, secrets
from tests.consensus.wire.words import OPERATOR, OTHER, PEER, WORKER

KEYS = {party: party.name.encode().ljust(32, b".") for party in Party}
ALL = Keys(Party.PEER, KEYS)
A, B = b"a" * 32, b"b" * 32


def own(party: Party, key: bytes | None = None) -> Keys:
    """The keys of a process that has only its own."""
    return Keys(party, {party: key or KEYS[party]})


def sides(
    caller: Speaker = OTHER,
    called: Speaker = PEER,
    *,
    holds: Keys | None = None,
    node: Keys = ALL,
    expected: int | None = None,
) -> tuple[Handshake, Handshake]:
    """Who calls, and who is called."""
    holds = holds or own(caller.party)
    return (
        Handshake(holds, Hello(caller, A, holds.insecure), calling=True, expected=expected),
        Handshake(node, Hello(called, B, node.insecure), calling=False),
    )


def meet(caller: Handshake, called: Handshake) -> None:
    """All steps in their order."""
    called.meet(caller.hello())
    caller.meet(called.hello())
    called.check(caller.prove())
    caller.check(called.prove())


@pytest.mark.parametrize("speaker", [OTHER, WORKER, OPERATOR], ids=str)
def test_both_sides_believe_each_other_and_have_the_same_keys_for_frames(speaker: Speaker) -> None:
    caller, called = sides(speaker)
    meet(caller, called)
    assert caller.sends() == called.receives()
    assert caller.receives() == called.sends()
    assert caller.sends() != caller.receives(), "a frame turned back is not read"


def test_each_side_learns_what_the_other_said_of_itself() -> None:
    caller, called = sides(replace(OTHER, incarnation=5, seq=9, cluster_version=3))
    assert called.meet(caller.hello()).speaker == replace(
        OTHER, incarnation=5, seq=9, cluster_version=3
    )
    assert caller.meet(called.hello()).speaker == PEER


@pytest.mark.parametrize("speaker", [OTHER, WORKER, OPERATOR], ids=str)
def test_whoever_has_another_key_is_refused_by_the_node(speaker: Speaker) -> None:
    caller, called = sides(speaker, holds=own(speaker.party, b"w" * 32))
    with pytest.raises(Refused) as caught:
        meet(caller, called)
    assert caught.value.why is Why.KEY


def test_a_node_without_the_key_is_refused_by_whoever_calls() -> None:
    caller, called = sides(WORKER, node=Keys(Party.PEER, {**KEYS, Party.WORKER: b"w" * 32}))
    called.meet(caller.hello())
    caller.meet(called.hello())
    with pytest.raises(Refused, match="refused"):
        caller.check(called.prove())


@pytest.mark.parametrize("claimed", [OTHER, OPERATOR], ids=str)
def test_the_key_of_a_worker_proves_nobody_but_a_worker(claimed: Speaker) -> None:
    caller, called = sides(claimed, holds=Keys(claimed.party, {claimed.party: KEYS[Party.WORKER]}))
    with pytest.raises(Refused, match="different keys"):
        meet(caller, called)


def test_a_proof_covers_everything_that_was_said() -> None:
    """A word changed on the way, by somebody between the two, is found by both proofs."""
    for lie in ({"seq": 1}, {"incarnation": 1}, {"cluster_version": 9}, {"name": "elsewhere"}):
        caller, called = sides()
        called.meet(encode_hello(Hello(replace(OTHER, **lie), A)))
        caller.meet(called.hello())
        with pytest.raises(Refused):
            called.check(caller.prove())
        with pytest.raises(Refused):
            caller.check(called.prove())


def test_a_proof_of_another_handshake_proves_nothing() -> None:
    caller, called = sides()
    meet(caller, called)
    old = caller.prove()
    again = Handshake(ALL, Hello(PEER, b"n" * 32), calling=False)
    again.meet(caller.hello())
    with pytest.raises(Refused):
        again.check(old)


def test_a_proof_turned_back_proves_nothing() -> None:
    caller, called = sides()
    called.meet(caller.hello())
    caller.meet(called.hello())
    with pytest.raises(Refused):
        caller.check(caller.prove())
    with pytest.raises(Refused):
        called.check(called.prove())


def test_a_mirror_is_no_peer() -> None:
    caller, _ = sides()
    with pytest.raises(Refused, match="met itself"):
        caller.meet(caller.hello())
    worker, _ = sides(WORKER)
    with pytest.raises(Refused, match="met itself"):
        worker.meet(worker.hello())


def test_a_node_that_finds_its_own_id_is_refused() -> None:
    """A copied folder that is started beside its original."""
    caller, called = sides(replace(PEER, name="copy"))
    with pytest.raises(Refused) as caught:
        called.meet(caller.hello())
    assert caught.value.why is Why.NODE


@pytest.mark.parametrize(("spoken", "met"), [((1, 1), (2, 3)), ((4, 5), (1, 3))])
def test_speakers_of_no_common_protocol_refuse_each_other(
    spoken: tuple[int, int], met: tuple[int, int]
) -> None:
    caller, called = sides(replace(OTHER, protocols=spoken), replace(PEER, protocols=met))
    for one, other in ((caller, called), (called, caller)):
        with pytest.raises(Refused, match=r"protocols \d to \d") as caught:
            one.meet(other.hello())
        assert caught.value.why is Why.VERSION


def test_speakers_whose_protocols_overlap_meet() -> None:
    meet(*sides(replace(OTHER, protocols=(1, 2)), replace(PEER, protocols=(2, 5))))


@pytest.mark.parametrize("speaker", [OTHER, WORKER], ids=str)
def test_a_speaker_of_another_cluster_is_refused_by_both(speaker: Speaker) -> None:
    caller, called = sides(replace(speaker, cluster=8))
    for one, other in ((caller, called), (called, caller)):
        with pytest.raises(Refused) as caught:
            one.meet(other.hello())
        assert caught.value.why is Why.CLUSTER


def test_a_client_may_leave_open_which_cluster_it_means() -> None:
    meet(*sides(replace(WORKER, cluster=0)))


def test_another_node_at_the_address_is_refused() -> None:
    caller, called = sides(expected=3)
    with pytest.raises(Refused, match="where node 3 should"):
        caller.meet(called.hello())


def test_a_client_that_answers_as_if_it_were_a_node_is_refused() -> None:
    """A worker cannot take the place of a node where workers call, though it has their key."""
    caller, _ = sides(WORKER)
    with pytest.raises(Refused, match="where a node should"):
        caller.meet(encode_hello(Hello(replace(WORKER, name="false"), B)))


def test_whoever_has_no_keys_and_whoever_has_refuse_each_other() -> None:
    caller, called = sides(holds=Keys.none())
    for one, other in ((caller, called), (called, caller)):
        with pytest.raises(Refused, match="insecure"):
            one.meet(other.hello())


def test_where_both_say_insecure_no_key_is_needed() -> None:
    meet(*sides(holds=Keys.none(), node=Keys.none()))


def test_a_node_without_the_key_of_a_kind_refuses_that_kind() -> None:
    caller, called = sides(OPERATOR, node=own(Party.PEER))
    with pytest.raises(Refused, match="no operator key"):
        called.meet(caller.hello())


def test_a_proof_before_an_introduction_is_unreadable() -> None:
    _, called = sides()
    with pytest.raises(Unreadable):
        called.check(b"p" * 32)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "there is no peer key"),
        ({Party.WORKER: KEYS[Party.WORKER]}, "there is no peer key"),
        ({**KEYS, Party.WORKER: b"short"}, "shorter than 32 bytes: worker"),
        ({**KEYS, Party.WORKER: KEYS[Party.PEER]}, "the same key"),
    ],
)
def test_keys_that_are_missing_short_or_shared_are_found_at_the_start(
    keys: dict[Party, bytes], why: str
) -> None:
    with pytest.raises(BadKey, match=why) as caught:
        Keys(Party.PEER, keys)
    assert "insecure" in "".join(caught.value.actions)


def test_every_secret_of_a_connection_differs() -> None:
    one, two = secrets(A, b"x", b"yz"), secrets(A, b"xy", b"z")
    every = [
        getattr(found, name)
        for found in (one, two, secrets(B, b"x", b"yz"))
        for name in ("caller_proof", "called_proof", "caller_frames", "called_frames")
    ]
    assert len(set(every)) == len(every) == 12
