-- What subscribers are told. A delivery's row is the truth about it; queue messages are hints.

CREATE TABLE events (
    id           BLOB PRIMARY KEY,
    event_type   TEXT NOT NULL,
    operator_id  BLOB NOT NULL,
    affiliate_id BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL
) STRICT;

CREATE TABLE deliveries (
    id               BLOB PRIMARY KEY,
    event_id         BLOB NOT NULL,
    endpoint_id      BLOB NOT NULL,
    state            TEXT NOT NULL,
    epoch            INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    failures         INTEGER NOT NULL,
    unknowns         INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    first_due_at     INTEGER NOT NULL,
    first_attempt_at INTEGER,
    next_attempt_at  INTEGER NOT NULL,
    republish_at     INTEGER NOT NULL,
    republished      INTEGER NOT NULL,
    lease_id         BLOB,
    lease_until      INTEGER,
    settled_at       INTEGER,
    dead_reason      TEXT
) STRICT;
-- What the sweeper and the relay look for, and what a freed slot of an endpoint takes next.
CREATE INDEX deliveries_republish ON deliveries (republish_at) WHERE state = 'pending';
CREATE INDEX deliveries_endpoint_due ON deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (id) WHERE state = 'dead';

CREATE TABLE attempts (
    delivery_id BLOB NOT NULL,
    epoch       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    outcome     TEXT NOT NULL,
    status      INTEGER,
    body_start  TEXT,
    error       TEXT,
    duration_ms INTEGER,
    PRIMARY KEY (delivery_id, epoch, number)
) STRICT;
