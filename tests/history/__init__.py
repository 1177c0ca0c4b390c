"""History as workers keep it."""
