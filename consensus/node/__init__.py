"""A node of the ledger: the core, its storage, its network and the state machine, joined.

`opening.open_node` opens one; `beginning` makes the records that new nodes begin with.
"""
