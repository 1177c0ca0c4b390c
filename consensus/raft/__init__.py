"""Raft without input or output: messages and ticks in; what to save, send and apply out."""
