-- One day more, with what of it lies in the default partition.
-- {table}: table; {name}: partition; {key}: its time; {begin}, {end}: of the day
-- Readers wait before they look which partitions there are: one that knew the old ones only, and
-- waited for the default one, would find rows neither there nor where they have gone.
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
WITH (fillfactor = {filled});
WITH moved AS (DELETE FROM {table}_default WHERE {key} >= {begin} AND {key} < {end} RETURNING *)
INSERT INTO {name} SELECT * FROM moved;
ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})
