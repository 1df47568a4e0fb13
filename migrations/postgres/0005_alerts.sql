-- One row for each opening of an alert. What a channel was told is marked only after it was told.

CREATE TABLE alerts (
    id                UUID PRIMARY KEY,
    name              TEXT NOT NULL,
    value             BIGINT NOT NULL,
    opened_at         TIMESTAMPTZ NOT NULL,
    closed_at         TIMESTAMPTZ,
    open_notified_at  TIMESTAMPTZ,
    close_notified_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX alerts_open ON alerts (name) WHERE closed_at IS NULL;
