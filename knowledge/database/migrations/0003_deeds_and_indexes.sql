-- What operators did is told over the bus: `deed` is its id there, by which it is kept once.
-- `scope` says what `target` names; `role` is '' for none or several; `count` is how many it met
-- where they are not named.
ALTER TABLE audit
    ADD COLUMN deed   text COLLATE "C",
    ADD COLUMN scope  text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN role   text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN count  bigint,
    ADD COLUMN before text NOT NULL DEFAULT '',
    ADD COLUMN after  text NOT NULL DEFAULT '';
UPDATE audit SET deed = 'note/' || id;
ALTER TABLE audit
    ALTER COLUMN deed SET NOT NULL,
    ADD CONSTRAINT audit_deed UNIQUE (deed);
DROP INDEX audit_at;
CREATE INDEX audit_at ON audit (at, id);

-- The tasks a deed was done to, as far as it names them; `copy` is that of the dead letter, -1
-- where there was none.
CREATE TABLE audit_tasks (
    task text COLLATE "C" NOT NULL,
    deed text COLLATE "C" NOT NULL REFERENCES audit (deed) ON DELETE CASCADE,
    role text COLLATE "C" NOT NULL,
    copy integer NOT NULL,
    PRIMARY KEY (task, deed, role)
);
CREATE INDEX audit_tasks_deed ON audit_tasks (deed, role);

-- Tasks of a role, and of a tenant that is not the usual one, newest first. Topics have none: each
-- publication would be in it too.
CREATE INDEX tasks_role ON tasks (role, published) WHERE role <> '';
CREATE INDEX tasks_tenant ON tasks (tenant, published)
    WHERE tenant <> 'default' AND state <> 'handled';
