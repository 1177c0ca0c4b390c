"""Carries tasks: one delivery contract over every broker.

The rule behind the design: the backend moves what flows; the key-value store holds what stays.
"""
