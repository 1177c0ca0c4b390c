-- History: what happened to tasks. Times are UTC epoch seconds, money is integer micro-dollars.
--
-- Rows of tasks, runs and results are kept by the time their task was published, events by their
-- own. Each day has a partition, made ahead by the retention job; what fits none lies in the
-- default partition.

-- One row per task, time of publication and role. The role is '' for what was published to
-- whoever is bound; such a row becomes 'handled' when a role has taken it and then only holds what
-- the publisher said. (copy, step, since, told) orders what happened: the row tells of the greatest.
CREATE TABLE tasks (
    published   double precision NOT NULL,
    task        text COLLATE "C" NOT NULL,
    role        text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    tenant      text COLLATE "C" NOT NULL,
    correlation text,
    priority    text,
    deadline    double precision,
    parent      text,
    subjects    text[],
    state       text COLLATE "C" NOT NULL,
    copy        integer NOT NULL,
    step        smallint NOT NULL,
    since       double precision NOT NULL,
    told        bigint NOT NULL,
    attempt     integer,
    worker      text,
    pid         integer,
    due         double precision,
    reason      text,
    error       text,
    share       double precision,
    note        text,
    PRIMARY KEY (published, task, role)
) PARTITION BY RANGE (published);
CREATE INDEX tasks_task ON tasks (task);
CREATE INDEX tasks_not_succeeded ON tasks (state, published)
    WHERE state NOT IN ('succeeded', 'handled');
CREATE TABLE tasks_default PARTITION OF tasks DEFAULT;

-- One row per run: id/copy in a role. `outcome` is the kind of event that ended it.
CREATE TABLE runs (
    published double precision NOT NULL,
    task      text COLLATE "C" NOT NULL,
    role      text COLLATE "C" NOT NULL,
    copy      integer NOT NULL,
    attempt   integer NOT NULL,
    worker    text NOT NULL,
    pid       integer NOT NULL,
    started   double precision,
    outcome   text,
    step      smallint NOT NULL,
    at        double precision NOT NULL,
    told      bigint NOT NULL,
    seconds   double precision,
    cost      bigint,
    reason    text,
    error     text,
    PRIMARY KEY (published, task, role, copy)
) PARTITION BY RANGE (published);
CREATE TABLE runs_default PARTITION OF runs DEFAULT;

-- What a run that ended was given and gave: JSON text, absent where it was over the limit.
CREATE TABLE results (
    published     double precision NOT NULL,
    task          text COLLATE "C" NOT NULL,
    role          text COLLATE "C" NOT NULL,
    copy          integer NOT NULL,
    at            double precision NOT NULL,
    told          bigint NOT NULL,
    payload       text,
    result        text,
    payload_bytes bigint,
    result_bytes  bigint,
    PRIMARY KEY (published, task, role, copy)
) PARTITION BY RANGE (published);
CREATE TABLE results_default PARTITION OF results DEFAULT;

-- Every event once. `told` is a hash of its id; `data` is JSON text.
CREATE TABLE events (
    at          double precision NOT NULL,
    task        text COLLATE "C" NOT NULL,
    told        bigint NOT NULL,
    published   double precision NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    tenant      text COLLATE "C" NOT NULL,
    role        text COLLATE "C" NOT NULL,
    copy        integer NOT NULL,
    attempt     integer NOT NULL,
    worker      text NOT NULL,
    pid         integer NOT NULL,
    number      bigint NOT NULL,
    correlation text,
    seconds     double precision,
    cost        bigint,
    data        text,
    PRIMARY KEY (task, told, at)
) PARTITION BY RANGE (at);
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- What was done and spent per day (UTC), tenant and role.
CREATE TABLE usage (
    day       date NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    role      text COLLATE "C" NOT NULL,
    published bigint NOT NULL,
    runs      bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed    bigint NOT NULL,
    cancelled bigint NOT NULL,
    retried   bigint NOT NULL,
    seconds   double precision NOT NULL,
    cost      bigint NOT NULL,
    PRIMARY KEY (day, tenant, role)
);

-- One row per death of a task, and what a person decided about it. `died` is NULL where only the
-- decision was told of.
CREATE TABLE letters (
    task      text COLLATE "C" NOT NULL,
    role      text COLLATE "C" NOT NULL,
    published double precision NOT NULL,
    copy      integer NOT NULL,
    topic     text COLLATE "C" NOT NULL,
    tenant    text COLLATE "C" NOT NULL,
    died      double precision,
    reason    text,
    error     text,
    attempts  integer,
    worker    text,
    fate      text,
    fate_by   text,
    fate_at   double precision,
    PRIMARY KEY (task, role, published, copy)
);
CREATE INDEX letters_died ON letters (died, task, role, copy);

-- What operators did. `details` is JSON text.
CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      double precision NOT NULL,
    by      text NOT NULL,
    action  text NOT NULL,
    target  text NOT NULL,
    details text NOT NULL,
    outcome text NOT NULL
);
CREATE INDEX audit_target ON audit (target, id);
CREATE INDEX audit_at ON audit (at);

-- Everything the bus accepted before `upto`, a time of this database, is recorded.
CREATE TABLE watermark (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    upto double precision NOT NULL
);
INSERT INTO watermark (upto) VALUES (0);
