"""NATS JetStream: topics in an interest stream, what comes later in a work-queue stream.

`connect.connect` opens a link, `backend.NatsBackend` and `bus.keyvalue.nats.NatsKeyValue` use it.
"""
