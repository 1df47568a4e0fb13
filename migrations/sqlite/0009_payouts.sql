-- Money on its way to affiliates. A payout's items are the ledger entries that it pays; what it did is a row of
-- payout_steps for each revision, never changed. Amounts are millionths of a unit.

CREATE TABLE payouts (
    id              BLOB PRIMARY KEY,
    affiliate_id    BLOB NOT NULL,
    currency        TEXT NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount BETWEEN 0 AND 100000000000000000),
    items           INTEGER NOT NULL,
    state           TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    reference       TEXT,
    created_by      BLOB,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX payouts_affiliate ON payouts (affiliate_id, id);
CREATE INDEX payouts_under_way ON payouts (updated_at) WHERE state NOT IN ('completed', 'returned', 'canceled');

CREATE TABLE payout_items (
    payout_id     BLOB NOT NULL,
    entry_id      BLOB NOT NULL,
    commission_id BLOB NOT NULL,
    operator_id   BLOB NOT NULL,
    amount        INTEGER NOT NULL,
    released_at   INTEGER,
    PRIMARY KEY (payout_id, entry_id)
) STRICT;
-- An entry is paid once. What a payout gave back may be paid by another.
CREATE UNIQUE INDEX payout_items_paid_once ON payout_items (entry_id) WHERE released_at IS NULL;
CREATE INDEX payout_items_commission ON payout_items (commission_id);

-- Each operator's part of a payout.
CREATE TABLE payout_shares (
    payout_id   BLOB NOT NULL,
    operator_id BLOB NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount BETWEEN -100000000000000000 AND 100000000000000000),
    PRIMARY KEY (payout_id, operator_id)
) STRICT;

-- Who did what, when; without a key it was the schedule.
CREATE TABLE payout_steps (
    payout_id BLOB NOT NULL,
    revision  INTEGER NOT NULL,
    state     TEXT NOT NULL,
    key_id    BLOB,
    at        INTEGER NOT NULL,
    reference TEXT,
    reason    TEXT,
    PRIMARY KEY (payout_id, revision)
) STRICT;
CREATE TRIGGER payout_steps_no_update BEFORE UPDATE ON payout_steps
BEGIN
    SELECT RAISE(ABORT, 'payout_steps is append-only: a payout goes on by another step');
END;
CREATE TRIGGER payout_steps_no_delete BEFORE DELETE ON payout_steps
BEGIN
    SELECT RAISE(ABORT, 'payout_steps is append-only: a payout goes on by another step');
END;

-- The provider's names of payments; each belongs to one payout for ever.
CREATE TABLE payout_references (
    reference TEXT PRIMARY KEY,
    payout_id BLOB NOT NULL
) STRICT;

CREATE TABLE payout_terms (
    affiliate_id BLOB NOT NULL REFERENCES affiliates (id),
    currency     TEXT NOT NULL,
    minimum      INTEGER NOT NULL CHECK (minimum BETWEEN 0 AND 100000000000000000),
    period       TEXT NOT NULL,
    enabled      INTEGER NOT NULL,
    next_due_at  INTEGER NOT NULL,
    last_due_at  INTEGER,
    last_outcome TEXT,
    updated_by   BLOB NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (affiliate_id, currency)
) STRICT;

-- What may be paid to an affiliate is found by its account; see docs/decisions/0009.
CREATE INDEX ledger_entries_payable ON ledger_entries (account) WHERE account LIKE '%:payable';
