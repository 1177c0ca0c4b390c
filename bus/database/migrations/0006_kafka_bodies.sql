-- Bodies are kept as they are: most are events of a moment, some hundred kilobytes that are deleted
-- again when history has them, and packing them took longer than all else in the statement.
ALTER TABLE muster_bus.kafka_tasks ALTER COLUMN body SET STORAGE EXTERNAL;
