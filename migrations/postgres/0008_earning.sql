-- Commissions beyond an amount for each goal: those that recur, those that are held, those in another currency.

-- The first conversion of a goal of one customer (or click), from which months are counted. Only for plans that pay
-- for some months. The row is also the lock under which it is decided.
CREATE TABLE recurrences (
    key      TEXT PRIMARY KEY,
    first_at TIMESTAMPTZ
);
-- The key that a conversion counts under, so that those are found which an earlier one that arrives late moves.
ALTER TABLE conversions ADD COLUMN recurrence TEXT;
CREATE INDEX conversions_recurrence ON conversions (recurrence, occurred_at) WHERE recurrence IS NOT NULL;

-- For how many days a commission is held after it was booked; a goal's own beats its program's.
ALTER TABLE programs ADD COLUMN commission_hold_days INTEGER NOT NULL DEFAULT 0
    CHECK (commission_hold_days BETWEEN 0 AND 3650);
ALTER TABLE goals ADD COLUMN commission_hold_days INTEGER CHECK (commission_hold_days BETWEEN 0 AND 3650);
ALTER TABLE commissions ADD COLUMN hold_until TIMESTAMPTZ;
CREATE INDEX commissions_held ON commissions (hold_until) WHERE state = 'on_hold';

-- The currency that an affiliate is paid in, and the one that a commission waits to be converted into.
ALTER TABLE affiliates ADD COLUMN settlement_currency TEXT;
ALTER TABLE commissions ADD COLUMN awaits TEXT;
CREATE INDEX commissions_awaiting ON commissions (currency, awaits) WHERE state = 'awaiting_fx';

-- What one unit of base is worth in quote, from a time on. The rate is exact decimal text. Never changed: of two with
-- the same time the later one corrects the other.
CREATE TABLE fx_rates (
    id         UUID PRIMARY KEY,
    base       TEXT NOT NULL,
    quote      TEXT NOT NULL CHECK (quote <> base),
    rate       TEXT NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    source     TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    version    BIGINT NOT NULL
);
