-- What two buses that make one have handed out: of each key the message of one bus, no other.

-- `bus`: whose message of the key it is. `handed`: how often it was handed out. `kept`: until when
-- its holder has it although that bus is away. `done`: when it was settled.
CREATE TABLE muster_bus.hand_overs (
    fleet   integer NOT NULL REFERENCES muster_bus.fleets ON DELETE CASCADE,
    grp     text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    bus     smallint NOT NULL,
    handed  integer NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    kept    timestamptz,
    done    timestamptz,
    PRIMARY KEY (fleet, grp, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX hand_overs_done ON muster_bus.hand_overs (fleet, grp, bus, done)
    WHERE done IS NOT NULL;
