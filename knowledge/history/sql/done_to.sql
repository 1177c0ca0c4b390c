-- The tasks that deeds were done to. $1 text[]: task; $2 text[]: deed; $3 text[]: role;
-- $4 integer[]: copy
INSERT INTO audit_tasks (task, deed, role, copy)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[])
ON CONFLICT DO NOTHING
