-- A second kind of endpoint, filters by goal and status, what counts as taken, and why an endpoint is not active. What is
-- due for an endpoint that is not active is held. An event may concern an operator alone.

ALTER TABLE endpoints ADD COLUMN kind TEXT NOT NULL DEFAULT 'webhook';
ALTER TABLE endpoints ADD COLUMN goals TEXT NOT NULL DEFAULT '[]';
ALTER TABLE endpoints ADD COLUMN statuses TEXT NOT NULL DEFAULT '[]';
ALTER TABLE endpoints ADD COLUMN expected_status INTEGER;
ALTER TABLE endpoints ADD COLUMN status_reason TEXT;
UPDATE endpoints SET status = 'paused' WHERE status = 'inactive';

ALTER TABLE deliveries ADD COLUMN held_at TIMESTAMPTZ;
CREATE INDEX deliveries_held ON deliveries (endpoint_id, id) WHERE state = 'held';

ALTER TABLE events ALTER COLUMN affiliate_id DROP NOT NULL;
