"""What stays: outcomes, dead letters, presence, bindings. One protocol, one room per store."""
