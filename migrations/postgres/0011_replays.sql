-- What a person decides about what failed: dead deliveries are let be with a note, and many deliveries or receipts are
-- replayed by a job that is worked step by step.

CREATE TABLE delivery_acknowledgements (
    delivery_id     UUID NOT NULL,
    epoch           INTEGER NOT NULL,
    acknowledged_at TIMESTAMPTZ NOT NULL,
    acknowledged_by TEXT NOT NULL,
    note            TEXT NOT NULL,
    PRIMARY KEY (delivery_id, epoch)
);

CREATE TABLE replays (
    id          UUID PRIMARY KEY,
    kind        TEXT NOT NULL,
    filter      TEXT NOT NULL,
    rate        INTEGER NOT NULL,
    state       TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    created_by  TEXT NOT NULL,
    matched     BIGINT NOT NULL,
    replayed    BIGINT NOT NULL,
    skipped     TEXT NOT NULL,
    verdicts    TEXT NOT NULL,
    reached     UUID NOT NULL,
    lease_id    UUID,
    lease_until TIMESTAMPTZ,
    ended_at    TIMESTAMPTZ,
    canceled_by TEXT
);
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';

-- Who had a receipt judged again, and by which job; NULL where it was judged by itself.
ALTER TABLE receipt_verdicts ADD COLUMN replayed_by TEXT;
ALTER TABLE receipt_verdicts ADD COLUMN replay_id UUID;

-- What a replay of receipts may be about. Nothing is written to it for what is booked at once.
CREATE INDEX receipts_unbooked ON receipts (id) WHERE verdict IN ('rejected', 'parked');
