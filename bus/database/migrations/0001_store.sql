-- Fleets that keep something here, and the entries of their key-value stores.

CREATE TABLE muster_bus.fleets (
    id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL UNIQUE
);

CREATE SEQUENCE muster_bus.revisions;

-- An entry is there until `until` has passed; 'infinity' is for ever.
CREATE TABLE muster_bus.entries (
    fleet       integer NOT NULL REFERENCES muster_bus.fleets ON DELETE CASCADE,
    key         text COLLATE "C" NOT NULL,
    value       bytea NOT NULL,
    revision    bigint NOT NULL,
    until       timestamptz NOT NULL,
    PRIMARY KEY (fleet, key)
) WITH (fillfactor = 70);

CREATE INDEX entries_until ON muster_bus.entries (fleet, until) WHERE until < 'infinity';
