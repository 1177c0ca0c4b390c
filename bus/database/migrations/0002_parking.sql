-- What brokers without leases, delays and claims keep beside themselves.

-- What a fleet's tasks may fill (null: nobody has said), and of what its publishers have sent
-- lately: how many messages, and their bytes. They tell the size of what waits. `forgot`: when claims
-- were last let go of.
ALTER TABLE muster_bus.fleets
    ADD COLUMN max_bytes    bigint,
    ADD COLUMN sent_count   bigint NOT NULL DEFAULT 0,
    ADD COLUMN sent_bytes   bigint NOT NULL DEFAULT 0,
    ADD COLUMN forgot       timestamptz NOT NULL DEFAULT now();

-- A role's group as it is bound. `gid` is of one life of a group: bound again, it has another.
-- `facts`: what the backend of its broker has to know of it, JSON.
CREATE TABLE muster_bus.groups (
    gid         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fleet       integer NOT NULL REFERENCES muster_bus.fleets ON DELETE CASCADE,
    name        text NOT NULL,
    patterns    text[] NOT NULL,
    facts       text NOT NULL DEFAULT '{}',
    UNIQUE (fleet, name)
);

-- One row for each dedupe key of a group that lies here, or that was handed out. A row may be
-- taken by whoever pulls when `at` has passed:
--      delayed     at = its time       owner null
--      held        at = end of lease   owner = who holds it
--      claimed     at = infinity       owner = the transmission that came first; the broker has it
--      done        at = infinity       done = when; what remains is the claim of its key
-- `handed`: how often it was handed out, last at `since`. `sent`: when it was published. `head` and `body`: the
-- message, where the broker does not have it.
CREATE TABLE muster_bus.tasks (
    gid     integer NOT NULL,
    key     text COLLATE "C" NOT NULL,
    lane    text COLLATE "C" NOT NULL,
    slice   smallint NOT NULL,
    at      timestamptz NOT NULL,
    owner   bigint,
    handed  integer NOT NULL,
    since   timestamptz NOT NULL DEFAULT now(),
    sent    timestamptz NOT NULL DEFAULT now(),
    done    timestamptz,
    head    text,
    body    bytea,
    PRIMARY KEY (gid, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX tasks_at ON muster_bus.tasks (gid, lane, slice, at) INCLUDE (owner) WHERE at < 'infinity';
CREATE INDEX tasks_open ON muster_bus.tasks (gid, lane, slice, since)
    WHERE done IS NULL AND at = 'infinity';
