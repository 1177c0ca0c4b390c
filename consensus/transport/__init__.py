"""Carries what nodes, workers and operators of the ledger say: TCP, authenticated, bounded."""
