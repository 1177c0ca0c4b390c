"""Two buses as one: what the first cannot take goes to the second, and both are worked on."""
