"""Decides who gets a task: a Raft core and the auction ledger on top of it.

`ledger` is the state machine that is replicated: auctions, their awards, the sessions of those who
ask. It is pure, and depends on nothing of the rest.
"""
