"""What happened: tasks, runs, events, results, deaths, usage and operators' decisions."""
