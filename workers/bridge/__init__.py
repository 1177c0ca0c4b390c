"""Moves messages between topics of a fleet and other brokers, which need not know muster."""
