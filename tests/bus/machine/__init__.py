"""The whole delivery machine against a simple model of what may and must happen."""
