-- The dead that were given back: each is the copy before the one that was told of.
INSERT INTO letters AS l (task, role, copy, published, topic, tenant, fate, fate_by, fate_at)
SELECT DISTINCT ON (published, task, role, copy)
    task, role, copy - 1, published, topic, tenant, 'replayed', note, at
FROM incoming
WHERE kind = 'replayed'
ORDER BY published, task, role, copy, at, told
ON CONFLICT (task, role, published, copy) DO UPDATE SET
    fate = coalesce(l.fate, excluded.fate),
    fate_by = coalesce(l.fate_by, excluded.fate_by),
    fate_at = coalesce(l.fate_at, excluded.fate_at)
