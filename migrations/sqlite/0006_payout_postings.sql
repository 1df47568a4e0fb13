-- A ledger transaction books a commission or a payout, and an event may concern an affiliate alone. SQLite cannot
-- drop a NOT NULL, so both tables are made anew with what they hold.

CREATE TABLE new_ledger_transactions (
    id            BLOB PRIMARY KEY,
    kind          TEXT NOT NULL,
    commission_id BLOB,
    payout_id     BLOB,
    posted_at     INTEGER NOT NULL,
    CHECK ((commission_id IS NULL) <> (payout_id IS NULL))
) STRICT;
INSERT INTO new_ledger_transactions (id, kind, commission_id, posted_at)
    SELECT id, kind, commission_id, posted_at FROM ledger_transactions;
DROP TABLE ledger_transactions;
ALTER TABLE new_ledger_transactions RENAME TO ledger_transactions;
CREATE TRIGGER ledger_transactions_no_update BEFORE UPDATE ON ledger_transactions
BEGIN
    SELECT RAISE(ABORT, 'ledger_transactions is append-only: post a correcting transaction instead');
END;
CREATE TRIGGER ledger_transactions_no_delete BEFORE DELETE ON ledger_transactions
BEGIN
    SELECT RAISE(ABORT, 'ledger_transactions is append-only: post a correcting transaction instead');
END;

CREATE TABLE new_events (
    id           BLOB PRIMARY KEY,
    event_type   TEXT NOT NULL,
    operator_id  BLOB,
    affiliate_id BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    body         TEXT NOT NULL
) STRICT;
INSERT INTO new_events (id, event_type, operator_id, affiliate_id, created_at, body)
    SELECT id, event_type, operator_id, affiliate_id, created_at, body FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
