"""`python -m tests.pains.sparing BYTES work ROLE`: a worker to whom so many bytes of unread events
are too much. In everything else it is the product's own worker process."""

import sys

import bus.unread
from bus.unread import Unread
from workers.cli.main import run

LOOK_EVERY = 0.3
"""Seconds between two looks: with less to fill, less time."""

if __name__ == "__main__":
    Unread.__init__.__kwdefaults__ = {"limit": int(sys.argv[1])}
    bus.unread.LOOK_EVERY = LOOK_EVERY
    sys.exit(run(sys.argv[2:]))
