-- Who has what of that which lies in Kafka: see docs/brokers/kafka.md.

-- `version` rises with every binding that changes; `swept`: when what is done was last deleted.
CREATE TABLE muster_bus.kafka_fleets (
    fleet       integer PRIMARY KEY REFERENCES muster_bus.fleets ON DELETE CASCADE,
    version     bigint NOT NULL DEFAULT 0,
    swept       timestamptz NOT NULL DEFAULT '-infinity'
);

-- A group from its first bind to its unbind. `cut`: into how many slices its lanes are cut now;
-- `widest`: the most they ever were; `slots`: partitions of its topic for each lane. `closing`: who
-- is about to unbind it.
CREATE TABLE muster_bus.kafka_groups (
    gid         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fleet       integer NOT NULL REFERENCES muster_bus.fleets ON DELETE CASCADE,
    name        text NOT NULL,
    topic       text NOT NULL,
    patterns    text[] NOT NULL,
    cut         integer NOT NULL,
    widest      integer NOT NULL,
    slots       integer NOT NULL,
    ready       boolean NOT NULL DEFAULT false,
    closing     bigint,
    UNIQUE (fleet, name)
);

-- Topics whose group is no more, until Kafka has deleted them.
CREATE TABLE muster_bus.kafka_graves (
    topic       text PRIMARY KEY,
    fleet       integer NOT NULL REFERENCES muster_bus.fleets ON DELETE CASCADE
);

-- A partition: hand-overs go on at `next`; all that it accepted up to the time `upto` was handed
-- over; what lies below `low` was deleted. `unread` are about the bytes from `next` on.
CREATE TABLE muster_bus.kafka_parts (
    gid         integer NOT NULL REFERENCES muster_bus.kafka_groups ON DELETE CASCADE,
    part        integer NOT NULL,
    next        bigint NOT NULL DEFAULT 0,
    low         bigint NOT NULL DEFAULT 0,
    unread      bigint NOT NULL DEFAULT 0,
    upto        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gid, part)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A message that was handed over, waits for its time, or came back. It can be taken from `at` on;
-- until then it is `owner`'s, or delayed where there is none. `lane`: 0 high, 1 retry, 2 normal,
-- 3 low; 9 for what is done, whose key is remembered, with `at` the time it was done. `handed`
-- counts hand-overs. What has no body lies in the log at (part, off). `gid` refers to kafka_groups;
-- a constraint would be checked for each row, which costs as much as the row.
CREATE TABLE muster_bus.kafka_tasks (
    at          timestamptz NOT NULL,
    owner       bigint,
    off         bigint,
    gid         integer NOT NULL,
    handed      integer NOT NULL,
    part        integer,
    size        integer NOT NULL,
    lane        smallint NOT NULL,
    slice       smallint NOT NULL,
    key         text COLLATE "C" NOT NULL,
    meta        text,
    body        bytea,
    PRIMARY KEY (gid, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

CREATE INDEX kafka_tasks_at ON muster_bus.kafka_tasks (gid, lane, slice, at);
