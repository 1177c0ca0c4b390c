"""The Redis backend. Each module says what it does; the layout is in `docs/brokers/redis.md`."""
