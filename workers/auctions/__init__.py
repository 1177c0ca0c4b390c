"""Auctioned roles: what a worker does where the ledger decides who runs a task."""
