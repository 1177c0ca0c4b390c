"""What clients ask of a node and what it tells them, as bytes: the bodies of calls. Pure."""
