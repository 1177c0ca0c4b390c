"""Two buses as one: what happens when one of them, both, or the database beside them is away."""
