"""What RabbitMQ and Kafka keep in the bus database: bindings, rows that wait for their time or are
held under a lease, and claims of dedupe keys."""
