"""The fleet as a whole: publishing into it, who is there, processes that are kept alive."""
