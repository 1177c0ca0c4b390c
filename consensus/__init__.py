"""Decides who gets a task: a Raft core and the auction ledger on top of it.

`raft` is the core, without input and output; `storage` what a node must not forget; `wire` and
`transport` how nodes and clients speak; `ledger` the state machine that is replicated; `service`
what clients ask of a node. `node` joins them, `client` is how workers and operators use it.
"""
