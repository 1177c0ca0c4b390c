"""The replicated state machine of auctions: who may do a task, and until when. Pure.

`Ledger.apply` takes one committed entry after the other; everything else follows from them.
"""
