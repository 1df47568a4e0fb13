-- A second kind of endpoint, filters by goal and status, what counts as taken, and why an endpoint is not active. What is
-- due for an endpoint that is not active is held. An event may concern an operator alone. SQLite cannot drop a NOT NULL,
-- so the events are made anew.

ALTER TABLE endpoints ADD COLUMN kind TEXT NOT NULL DEFAULT 'webhook';
ALTER TABLE endpoints ADD COLUMN goals TEXT NOT NULL DEFAULT '[]';
ALTER TABLE endpoints ADD COLUMN statuses TEXT NOT NULL DEFAULT '[]';
ALTER TABLE endpoints ADD COLUMN expected_status INTEGER;
ALTER TABLE endpoints ADD COLUMN status_reason TEXT;
UPDATE endpoints SET status = 'paused' WHERE status = 'inactive';

ALTER TABLE deliveries ADD COLUMN held_at INTEGER;
CREATE INDEX deliveries_held ON deliveries (endpoint_id, id) WHERE state = 'held';

CREATE TABLE new_events (
    id           BLOB PRIMARY KEY,
    event_type   TEXT NOT NULL,
    operator_id  BLOB,
    affiliate_id BLOB,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL
) STRICT;
INSERT INTO new_events (id, event_type, operator_id, affiliate_id, created_at, body)
    SELECT id, event_type, operator_id, affiliate_id, created_at, body FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
