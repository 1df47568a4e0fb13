-- What subscribers are told. A delivery's row is the truth about it; queue messages are hints.

CREATE TABLE events (
    id           UUID PRIMARY KEY,
    event_type   TEXT NOT NULL,
    operator_id  UUID NOT NULL,
    affiliate_id UUID NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    body         TEXT NOT NULL
);

CREATE TABLE deliveries (
    id               UUID PRIMARY KEY,
    event_id         UUID NOT NULL,
    endpoint_id      UUID NOT NULL,
    state            TEXT NOT NULL,
    epoch            INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    failures         INTEGER NOT NULL,
    unknowns         INTEGER NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    first_due_at     TIMESTAMPTZ NOT NULL,
    first_attempt_at TIMESTAMPTZ,
    next_attempt_at  TIMESTAMPTZ NOT NULL,
    republish_at     TIMESTAMPTZ NOT NULL,
    republished      INTEGER NOT NULL,
    lease_id         UUID,
    lease_until      TIMESTAMPTZ,
    settled_at       TIMESTAMPTZ,
    dead_reason      TEXT
);
-- What the sweeper and the relay look for, and what a freed slot of an endpoint takes next.
CREATE INDEX deliveries_republish ON deliveries (republish_at) WHERE state = 'pending';
CREATE INDEX deliveries_endpoint_due ON deliveries (endpoint_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (id) WHERE state = 'dead';

CREATE TABLE attempts (
    delivery_id UUID NOT NULL,
    epoch       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    started_at  TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    outcome     TEXT NOT NULL,
    status      INTEGER,
    body_start  TEXT,
    error       TEXT,
    duration_ms BIGINT,
    PRIMARY KEY (delivery_id, epoch, number)
);
