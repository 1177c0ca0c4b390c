"""Keys as they are pressed, on a terminal."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` with each key until the block is left; a sequence of an arrow or the like is
    one key. Nothing happens where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()

    def read() -> None:
        text = os.read(number, 256).decode("utf-8", "ignore")
        if text.startswith("\x1b") and len(text) > 1:
            pressed(text)
            return
        for key in text:
            pressed(key)

    tty.setcbreak(number)
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
