-- One day less, but for what has not ended. {table}: table; {name}: partition; {kept}: condition
ALTER TABLE {table} DETACH PARTITION {name};
INSERT INTO {table} SELECT * FROM {name} WHERE {kept};
DROP TABLE {name}
