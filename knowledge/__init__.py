"""Remembers what happened (`history`) and what was learned from it (`graph`).

`history` keeps tasks, runs, events and results in PostgreSQL, on the connections and migrations
of `database`. The graph of solutions, claims and conflicts is not built yet, nor is the ranking
that finds them again.
"""
