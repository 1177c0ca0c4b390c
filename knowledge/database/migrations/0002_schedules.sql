-- Schedules: tasks published by the clock. Times are UTC epoch seconds, money is micro-dollars.
--
-- `next` is the tick that comes, null when none does; `due` is when to look at the row: at `next`,
-- or later where publishing that tick has failed and is tried again.
CREATE TABLE schedules (
    name     text COLLATE "C" PRIMARY KEY,
    tenant   text COLLATE "C" NOT NULL,
    topic    text COLLATE "C" NOT NULL,
    payload  text NOT NULL,
    priority text NOT NULL,
    deadline double precision,
    budget   bigint,
    cron     text,
    at       double precision,
    zone     text NOT NULL,
    misfire  text NOT NULL,
    paused   boolean NOT NULL DEFAULT false,
    made     double precision NOT NULL,
    next     double precision,
    due      double precision,
    last     double precision,
    fired    bigint NOT NULL DEFAULT 0,
    error    text,
    CHECK ((cron IS NULL) <> (at IS NULL))
);
CREATE INDEX schedules_due ON schedules (due) WHERE NOT paused;
