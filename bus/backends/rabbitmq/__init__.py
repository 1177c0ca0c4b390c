"""RabbitMQ: what may start now lies in quorum queues behind one topic exchange of the fleet. What
is delayed, comes back, or is held for long is a row of the bus database, where claims are too.

`docs/brokers/rabbitmq.md` describes what is made on the broker and how messages look on the wire.
"""
