-- What is earned, and the append-only books. Amounts are millionths of a unit.

CREATE TABLE commissions (
    id              BLOB PRIMARY KEY,
    conversion_id   BLOB NOT NULL UNIQUE,
    operator_id     BLOB NOT NULL,
    program_id      BLOB NOT NULL,
    affiliate_id    BLOB NOT NULL,
    plan_version_id BLOB NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount BETWEEN -100000000000000000 AND 100000000000000000),
    currency        TEXT NOT NULL,
    booked          INTEGER NOT NULL CHECK (booked BETWEEN -100000000000000000 AND 100000000000000000),
    state           TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    explanation     TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE ledger_transactions (
    id            BLOB PRIMARY KEY,
    kind          TEXT NOT NULL,
    commission_id BLOB NOT NULL,
    posted_at     INTEGER NOT NULL
) STRICT;

-- A debit is positive, a credit negative.
CREATE TABLE ledger_entries (
    id             BLOB PRIMARY KEY,
    transaction_id BLOB NOT NULL,
    account        TEXT NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount BETWEEN -100000000000000000 AND 100000000000000000),
    currency       TEXT NOT NULL
) STRICT;

CREATE TRIGGER ledger_transactions_no_update BEFORE UPDATE ON ledger_transactions
BEGIN
    SELECT RAISE(ABORT, 'ledger_transactions is append-only: post a correcting transaction instead');
END;
CREATE TRIGGER ledger_transactions_no_delete BEFORE DELETE ON ledger_transactions
BEGIN
    SELECT RAISE(ABORT, 'ledger_transactions is append-only: post a correcting transaction instead');
END;
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only: post a correcting transaction instead');
END;
CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only: post a correcting transaction instead');
END;
