"""Remembers what happened (`history`) and what was learned from it (`graph`).

Nothing is built here yet. What comes: the history of tasks and attempts in PostgreSQL, the graph
of solutions, claims and conflicts in PostgreSQL or Neo4j, and the ranking that finds them again.
"""
