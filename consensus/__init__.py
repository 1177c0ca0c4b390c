"""Decides who gets a task: a Raft core and the auction ledger on top of it.

Nothing is built here yet. What comes: the core without input or output, its storage, its own
transport (a broken broker must not break an election), the ledger of auctions, its client.
"""
