-- What is earned, and the append-only books.

CREATE TABLE commissions (
    id              UUID PRIMARY KEY,
    conversion_id   UUID NOT NULL UNIQUE,
    operator_id     UUID NOT NULL,
    program_id      UUID NOT NULL,
    affiliate_id    UUID NOT NULL,
    plan_version_id UUID NOT NULL,
    amount          NUMERIC(20,6) NOT NULL CHECK (amount BETWEEN -100000000000 AND 100000000000),
    currency        TEXT NOT NULL,
    booked          NUMERIC(20,6) NOT NULL CHECK (booked BETWEEN -100000000000 AND 100000000000),
    state           TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    explanation     TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL
);

CREATE TABLE ledger_transactions (
    id            UUID PRIMARY KEY,
    kind          TEXT NOT NULL,
    commission_id UUID NOT NULL,
    posted_at     TIMESTAMPTZ NOT NULL
);

-- A debit is positive, a credit negative.
CREATE TABLE ledger_entries (
    id             UUID PRIMARY KEY,
    transaction_id UUID NOT NULL,
    account        TEXT NOT NULL,
    amount         NUMERIC(20,6) NOT NULL CHECK (amount BETWEEN -100000000000 AND 100000000000),
    currency       TEXT NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: post a correcting transaction instead', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER ledger_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
