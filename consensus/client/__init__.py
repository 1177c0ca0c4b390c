"""How workers and operators use the ledger: they find its leader, ask, and are told.

`client.LedgerClient` is for workers, `operating.Operator` for people.
"""
