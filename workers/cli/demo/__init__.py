"""`muster demo`: the main job by real processes; with `--chaos` they are killed while it runs."""
