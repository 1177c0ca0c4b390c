"""What nodes, workers and operators of the ledger say to each other, as bytes. Pure: no socket."""
