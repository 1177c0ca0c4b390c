"""The Kafka backend: Kafka is the log, the bus database says who has what.

Kafka has a topic for each group; no consumer groups, members or sessions. Rows of the database are
leases, delays, claims of dedupe keys and counts of hand-overs. `docs/brokers/kafka.md` and decision
0020 say why and how.
"""
