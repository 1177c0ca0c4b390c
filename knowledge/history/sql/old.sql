-- What lies outside of any day and is old. {table}: table; {gone}: condition
-- $1 double precision: cut; $2 double precision: cut of what has not ended
DELETE FROM {table} WHERE {gone}
