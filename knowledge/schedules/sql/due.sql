-- When a row is to be looked at next, those included that somebody holds now.
SELECT min(due) FROM schedules WHERE NOT paused
