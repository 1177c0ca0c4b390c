-- New events, and what they add to the usage of their day; answers how many were new.
WITH fresh AS (
    INSERT INTO events (
        at, task, told, published, kind, topic, tenant, role, copy, attempt, worker, pid, number,
        correlation, seconds, cost, data
    )
    SELECT
        at, task, told, published, kind, topic, tenant, role, copy, attempt, worker, pid, number,
        correlation, seconds, cost, data
    FROM incoming
    ON CONFLICT DO NOTHING
    RETURNING at, tenant, role, kind, seconds, cost
),

used AS (
    INSERT INTO usage AS u (
        day, tenant, role, published, runs, succeeded, failed, cancelled, retried, seconds, cost
    )
    SELECT
        (to_timestamp(at) AT TIME ZONE 'UTC')::date,
        tenant,
        role,
        count(*) FILTER (WHERE kind = 'published'),
        count(*) FILTER (
            WHERE
            kind NOT IN ('published', 'replayed', 'started', 'progress')
            AND kind NOT IN ('auction.opened', 'auction.awarded', 'auction.closed')
        ),
        count(*) FILTER (WHERE kind = 'succeeded'),
        count(*) FILTER (WHERE kind = 'failed'),
        count(*) FILTER (WHERE kind = 'cancelled'),
        count(*) FILTER (WHERE kind = 'retried'),
        coalesce(sum(seconds), 0),
        coalesce(sum(cost), 0)
    FROM fresh
    WHERE
        kind NOT IN (
            'replayed', 'started', 'progress', 'auction.opened', 'auction.awarded', 'auction.closed'
        )
        OR cost IS NOT NULL
    GROUP BY 1, 2, 3
    ON CONFLICT (day, tenant, role) DO UPDATE SET
        published = u.published + excluded.published,
        runs = u.runs + excluded.runs,
        succeeded = u.succeeded + excluded.succeeded,
        failed = u.failed + excluded.failed,
        cancelled = u.cancelled + excluded.cancelled,
        retried = u.retried + excluded.retried,
        seconds = u.seconds + excluded.seconds,
        cost = u.cost + excluded.cost
)

SELECT count(*) FROM fresh
