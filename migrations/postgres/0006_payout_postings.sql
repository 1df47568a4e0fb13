-- A ledger transaction books a commission or a payout, and an event may concern an affiliate alone.

ALTER TABLE ledger_transactions ALTER COLUMN commission_id DROP NOT NULL;
ALTER TABLE ledger_transactions ADD COLUMN payout_id UUID;
ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_subject
    CHECK ((commission_id IS NULL) <> (payout_id IS NULL));
ALTER TABLE events ALTER COLUMN operator_id DROP NOT NULL;
