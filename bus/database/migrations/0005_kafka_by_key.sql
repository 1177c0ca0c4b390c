-- Rows that are named by their keys are found by the primary key, whatever the planner believes of a
-- young table: `(lane < 9) IS TRUE` follows from neither index, nor they from it.
DROP INDEX muster_bus.kafka_tasks_at;
CREATE INDEX kafka_tasks_at ON muster_bus.kafka_tasks (gid, lane, slice, at) WHERE lane < 9;
CREATE INDEX kafka_tasks_done ON muster_bus.kafka_tasks (gid, at) WHERE lane = 9;
