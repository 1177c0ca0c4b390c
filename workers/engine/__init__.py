"""Runs tasks: how much to pull, the order of steps, leases, time limits. Imports no backend."""
