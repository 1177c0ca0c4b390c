-- What somebody has taken waits no longer for anybody.
-- $1 double precision, $2 double precision: least and greatest time of publication in the batch
UPDATE tasks AS t
SET state = 'handled'
FROM (SELECT DISTINCT published, task FROM incoming WHERE step > 0) AS i
WHERE t.published = i.published AND t.task = i.task AND t.role = '' AND t.state = 'waiting'
    AND t.published BETWEEN $1 AND $2
