-- What came in. Tables that grow with traffic have no foreign keys into the configuration: a check would
-- lock rows that all batches share, and the rules have been applied before the row is written.

CREATE TABLE clicks (
    operator_id  UUID NOT NULL,
    click_id     TEXT NOT NULL,
    program_id   UUID NOT NULL,
    affiliate_id UUID NOT NULL,
    link_id      UUID,
    clicked_at   TIMESTAMPTZ NOT NULL,
    received_at  TIMESTAMPTZ NOT NULL,
    subs         TEXT NOT NULL,
    ip_hash      BYTEA,
    user_agent   TEXT,
    PRIMARY KEY (operator_id, click_id)
);

-- One inbound request with its first verdict; never changed. Later verdicts are rows of their own.
CREATE TABLE receipts (
    id            UUID PRIMARY KEY,
    operator_id   UUID NOT NULL,
    source_id     UUID NOT NULL,
    key_id        UUID NOT NULL,
    request_id    UUID NOT NULL,
    received_at   TIMESTAMPTZ NOT NULL,
    method        TEXT NOT NULL,
    content_type  TEXT,
    query         TEXT NOT NULL,
    body          BYTEA NOT NULL,
    peer          TEXT NOT NULL,
    verdict       TEXT NOT NULL,
    code          TEXT,
    field         TEXT,
    conversion_id UUID
);

CREATE TABLE receipt_verdicts (
    id            UUID PRIMARY KEY,
    receipt_id    UUID NOT NULL,
    decided_at    TIMESTAMPTZ NOT NULL,
    verdict       TEXT NOT NULL,
    code          TEXT,
    field         TEXT,
    conversion_id UUID
);
CREATE INDEX receipt_verdicts_receipt ON receipt_verdicts (receipt_id, id);

-- The unique rows that decide whether a postback is new. They never expire.
CREATE TABLE dedup_keys (
    key           TEXT PRIMARY KEY,
    conversion_id UUID NOT NULL
);

CREATE TABLE parked (
    receipt_id  UUID PRIMARY KEY,
    operator_id UUID NOT NULL,
    source_id   UUID NOT NULL,
    click_id    TEXT,
    received_at TIMESTAMPTZ NOT NULL,
    wait_key    TEXT NOT NULL,
    reason      TEXT NOT NULL,
    postback    TEXT NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX parked_wait_key ON parked (wait_key);
CREATE INDEX parked_expires_at ON parked (expires_at);

CREATE TABLE conversions (
    id            UUID PRIMARY KEY,
    operator_id   UUID NOT NULL,
    source_id     UUID NOT NULL,
    program_id    UUID NOT NULL,
    goal_id       UUID NOT NULL,
    goal          TEXT NOT NULL,
    affiliate_id  UUID NOT NULL,
    receipt_id    UUID NOT NULL,
    click_id      TEXT,
    status        TEXT NOT NULL,
    currency      TEXT NOT NULL,
    amount        NUMERIC(20,6) CHECK (amount BETWEEN -100000000000 AND 100000000000),
    occurred_at   TIMESTAMPTZ NOT NULL,
    received_at   TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    revision      INTEGER NOT NULL,
    test          BOOLEAN NOT NULL,
    content       TEXT NOT NULL,
    click_subs    TEXT NOT NULL,
    seen          BYTEA NOT NULL,
    no_commission TEXT
);

-- For people who ask what became of a click. Our own click ids begin with their link and time, so new rows land beside
-- one another. Event ids need no index here: they are found through dedup_keys. Each index on random text costs a
-- tenth of what recording a postback costs.
CREATE INDEX conversions_click ON conversions (click_id);

-- States of a conversion that a revision replaced; the current one is in conversions.
CREATE TABLE conversion_revisions (
    conversion_id UUID NOT NULL,
    revision      INTEGER NOT NULL,
    receipt_id    UUID NOT NULL,
    status        TEXT NOT NULL,
    content       TEXT NOT NULL,
    occurred_at   TIMESTAMPTZ NOT NULL,
    superseded_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (conversion_id, revision)
);
