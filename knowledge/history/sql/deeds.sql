-- Deeds that are not known yet. $1 text[]: deed; $2 double precision[]: at; $3 text[]: by;
-- $4 text[]: action; $5 text[]: scope; $6 text[]: target; $7 text[]: role; $8 bigint[]: count;
-- $9 text[]: before; $10 text[]: after; $11 text[]: details
INSERT INTO audit (
    deed, at, by, action, scope, target, role, count, before, after, details, outcome
)
SELECT *, 'done'
FROM unnest(
    $1::text[], $2::double precision[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bigint[], $9::text[], $10::text[], $11::text[]
)
ON CONFLICT (deed) DO NOTHING
