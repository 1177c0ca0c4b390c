-- Events that do not know when their task was published belong to the one known by its id, or
-- else to the first that is told of it.
UPDATE incoming AS i
SET published = coalesce(
    (SELECT min(t.published) FROM tasks AS t WHERE t.task = i.task),
    (SELECT min(j.at) FROM incoming AS j WHERE j.task = i.task)
)
WHERE i.published = 0
