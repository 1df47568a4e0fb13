-- Refunds as events of their own, customers and coupons, conversions that change without a postback, and tests by key.

ALTER TABLE sources ADD COLUMN negative_is_refund BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE programs ADD COLUMN attribution TEXT NOT NULL DEFAULT 'lifetime';
ALTER TABLE goals ADD COLUMN hold_days INTEGER CHECK (hold_days >= 0);
ALTER TABLE api_keys ADD COLUMN test BOOLEAN NOT NULL DEFAULT false;

CREATE TABLE coupons (
    id           UUID PRIMARY KEY,
    operator_id  UUID NOT NULL REFERENCES operators (id),
    program_id   UUID NOT NULL REFERENCES programs (id),
    affiliate_id UUID NOT NULL REFERENCES affiliates (id),
    code         TEXT NOT NULL,
    status       TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    version      BIGINT NOT NULL,
    UNIQUE (operator_id, code)
);

-- What signals of attribution contradicted one another.
ALTER TABLE receipts ADD COLUMN note TEXT;
ALTER TABLE receipt_verdicts ADD COLUMN note TEXT;
ALTER TABLE parked ADD COLUMN customer_id TEXT;

-- What refunds took off; until when it is on hold; who made the current revision, if no postback did; the month in which
-- it was first approved.
ALTER TABLE conversions ADD COLUMN refunds TEXT;
ALTER TABLE conversions ADD COLUMN hold_until TIMESTAMPTZ;
ALTER TABLE conversions ADD COLUMN changed_by TEXT;
ALTER TABLE conversions ADD COLUMN booked_period TEXT;
CREATE INDEX conversions_hold_until ON conversions (hold_until) WHERE hold_until IS NOT NULL;
ALTER TABLE conversion_revisions ADD COLUMN changed_by TEXT;

-- Whom an operator's customer is bound to; the unique row decides who is first.
CREATE TABLE customers (
    id           UUID PRIMARY KEY,
    operator_id  UUID NOT NULL,
    customer_id  TEXT NOT NULL,
    program_id   UUID NOT NULL,
    affiliate_id UUID NOT NULL,
    click_id     TEXT,
    bound_at     TIMESTAMPTZ NOT NULL,
    bound_by     TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    UNIQUE (operator_id, customer_id)
);

-- Bindings that another one replaced; the current one is in customers.
CREATE TABLE customer_bindings (
    customer      UUID NOT NULL,
    revision      INTEGER NOT NULL,
    program_id    UUID NOT NULL,
    affiliate_id  UUID NOT NULL,
    click_id      TEXT,
    bound_at      TIMESTAMPTZ NOT NULL,
    bound_by      TEXT NOT NULL,
    superseded_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (customer, revision)
);
