"""All a role author imports; no broker word in it."""
