"""`docs/conformance.md`, made from a run of every test that shows a promise."""
