"""The words all parts of muster share: envelopes, outcomes, topics, events, errors, clocks.

Standard library and pydantic only. Nothing here does I/O.
"""
