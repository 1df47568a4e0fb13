-- Refunds as events of their own, customers and coupons, conversions that change without a postback, and tests by key.

ALTER TABLE sources ADD COLUMN negative_is_refund INTEGER NOT NULL DEFAULT 0;
ALTER TABLE programs ADD COLUMN attribution TEXT NOT NULL DEFAULT 'lifetime';
ALTER TABLE goals ADD COLUMN hold_days INTEGER CHECK (hold_days >= 0);
ALTER TABLE api_keys ADD COLUMN test INTEGER NOT NULL DEFAULT 0;

CREATE TABLE coupons (
    id           BLOB PRIMARY KEY,
    operator_id  BLOB NOT NULL REFERENCES operators (id),
    program_id   BLOB NOT NULL REFERENCES programs (id),
    affiliate_id BLOB NOT NULL REFERENCES affiliates (id),
    code         TEXT NOT NULL,
    status       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    UNIQUE (operator_id, code)
) STRICT;

-- What signals of attribution contradicted one another.
ALTER TABLE receipts ADD COLUMN note TEXT;
ALTER TABLE receipt_verdicts ADD COLUMN note TEXT;
ALTER TABLE parked ADD COLUMN customer_id TEXT;

-- What refunds took off; until when it is on hold; who made the current revision, if no postback did; the month in which
-- it was first approved.
ALTER TABLE conversions ADD COLUMN refunds TEXT;
ALTER TABLE conversions ADD COLUMN hold_until INTEGER;
ALTER TABLE conversions ADD COLUMN changed_by TEXT;
ALTER TABLE conversions ADD COLUMN booked_period TEXT;
CREATE INDEX conversions_hold_until ON conversions (hold_until) WHERE hold_until IS NOT NULL;
ALTER TABLE conversion_revisions ADD COLUMN changed_by TEXT;

-- Whom an operator's customer is bound to; the unique row decides who is first.
CREATE TABLE customers (
    id           BLOB PRIMARY KEY,
    operator_id  BLOB NOT NULL,
    customer_id  TEXT NOT NULL,
    program_id   BLOB NOT NULL,
    affiliate_id BLOB NOT NULL,
    click_id     TEXT,
    bound_at     INTEGER NOT NULL,
    bound_by     TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (operator_id, customer_id)
) STRICT;

-- Bindings that another one replaced; the current one is in customers.
CREATE TABLE customer_bindings (
    customer      BLOB NOT NULL,
    revision      INTEGER NOT NULL,
    program_id    BLOB NOT NULL,
    affiliate_id  BLOB NOT NULL,
    click_id      TEXT,
    bound_at      INTEGER NOT NULL,
    bound_by      TEXT NOT NULL,
    superseded_at INTEGER NOT NULL,
    PRIMARY KEY (customer, revision)
) STRICT;
