-- One row for each opening of an alert. What a channel was told is marked only after it was told.

CREATE TABLE alerts (
    id                BLOB PRIMARY KEY,
    name              TEXT NOT NULL,
    value             INTEGER NOT NULL,
    opened_at         INTEGER NOT NULL,
    closed_at         INTEGER,
    open_notified_at  INTEGER,
    close_notified_at INTEGER
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (name) WHERE closed_at IS NULL;
