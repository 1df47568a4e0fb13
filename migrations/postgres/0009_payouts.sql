-- Money on its way to affiliates. A payout's items are the ledger entries that it pays; what it did is a row of
-- payout_steps for each revision, never changed.

CREATE TABLE payouts (
    id              UUID PRIMARY KEY,
    affiliate_id    UUID NOT NULL,
    currency        TEXT NOT NULL,
    amount          NUMERIC(20,6) NOT NULL CHECK (amount BETWEEN 0 AND 100000000000),
    items           BIGINT NOT NULL,
    state           TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    reference       TEXT,
    created_by      UUID,
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX payouts_affiliate ON payouts (affiliate_id, id);
CREATE INDEX payouts_under_way ON payouts (updated_at) WHERE state NOT IN ('completed', 'returned', 'canceled');

CREATE TABLE payout_items (
    payout_id     UUID NOT NULL,
    entry_id      UUID NOT NULL,
    commission_id UUID NOT NULL,
    operator_id   UUID NOT NULL,
    amount        NUMERIC(20,6) NOT NULL,
    released_at   TIMESTAMPTZ,
    PRIMARY KEY (payout_id, entry_id)
);
-- An entry is paid once. What a payout gave back may be paid by another.
CREATE UNIQUE INDEX payout_items_paid_once ON payout_items (entry_id) WHERE released_at IS NULL;
CREATE INDEX payout_items_commission ON payout_items (commission_id);

-- Each operator's part of a payout.
CREATE TABLE payout_shares (
    payout_id   UUID NOT NULL,
    operator_id UUID NOT NULL,
    amount      NUMERIC(20,6) NOT NULL CHECK (amount BETWEEN -100000000000 AND 100000000000),
    PRIMARY KEY (payout_id, operator_id)
);

-- Who did what, when; without a key it was the schedule.
CREATE TABLE payout_steps (
    payout_id UUID NOT NULL,
    revision  INTEGER NOT NULL,
    state     TEXT NOT NULL,
    key_id    UUID,
    at        TIMESTAMPTZ NOT NULL,
    reference TEXT,
    reason    TEXT,
    PRIMARY KEY (payout_id, revision)
);
CREATE TRIGGER payout_steps_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_steps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The provider's names of payments; each belongs to one payout for ever.
CREATE TABLE payout_references (
    reference TEXT PRIMARY KEY,
    payout_id UUID NOT NULL
);

CREATE TABLE payout_terms (
    affiliate_id UUID NOT NULL REFERENCES affiliates (id),
    currency     TEXT NOT NULL,
    minimum      NUMERIC(20,6) NOT NULL CHECK (minimum BETWEEN 0 AND 100000000000),
    period       TEXT NOT NULL,
    enabled      BOOLEAN NOT NULL,
    next_due_at  TIMESTAMPTZ NOT NULL,
    last_due_at  TIMESTAMPTZ,
    last_outcome TEXT,
    updated_by   UUID NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (affiliate_id, currency)
);

-- What may be paid to an affiliate is found by its account; see docs/decisions/0009.
CREATE INDEX ledger_entries_payable ON ledger_entries (account) WHERE account LIKE '%:payable';
