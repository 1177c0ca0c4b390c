-- $1 text: action; $2 text: by; $3 text: target; $4 text: details; $5 text: outcome
INSERT INTO audit (at, by, action, target, details, outcome)
VALUES (extract(EPOCH FROM clock_timestamp()), $2, $1, $3, $4, $5)
RETURNING id
