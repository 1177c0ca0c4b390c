"""One room per broker; each implements `bus.backend.Backend` and is chosen in `workers.wiring`."""
