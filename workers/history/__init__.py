"""What happened to tasks: where it is kept, and what workers do for it."""
