"""The bus database: what RabbitMQ and Kafka cannot keep for a fleet lies in a PostgreSQL.

A schema of its own, `muster_bus`, holds it for every fleet; `docs/brokers/database.md` describes
the tables.
"""
