-- What runs that ended were given and gave, each under its own copy.
INSERT INTO results AS r (
    published, task, role, copy, at, told, payload, result, payload_bytes, result_bytes
)
SELECT DISTINCT ON (published, task, role, copy)
    published, task, role, copy, at, told, payload, result, payload_bytes, result_bytes
FROM incoming
WHERE step = 4 AND num_nonnulls(payload, result, payload_bytes, result_bytes) > 0
ORDER BY published, task, role, copy, at DESC, told DESC
ON CONFLICT (published, task, role, copy) DO UPDATE SET
    at = excluded.at,
    told = excluded.told,
    payload = excluded.payload,
    result = excluded.result,
    payload_bytes = excluded.payload_bytes,
    result_bytes = excluded.result_bytes
WHERE (excluded.at, excluded.told) > (r.at, r.told)
