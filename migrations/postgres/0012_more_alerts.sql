-- An alert may be about one thing of several (`subject`, such as a source) and is closed when nobody has seen it hold for a
-- while (`seen_at`). Each channel is told of each opening and closing by whoever claimed the notice. When each source was
-- last heard lies apart from the sources, which are versioned configuration.

DROP INDEX alerts_open;
ALTER TABLE alerts ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE alerts ADD COLUMN seen_at TIMESTAMPTZ NOT NULL DEFAULT '1970-01-01T00:00:00Z';
CREATE UNIQUE INDEX alerts_open ON alerts (name, subject) WHERE closed_at IS NULL;

CREATE TABLE alert_notices (
    alert_id   UUID NOT NULL,
    channel    TEXT NOT NULL,
    step       TEXT NOT NULL,
    claimed_at TIMESTAMPTZ NOT NULL,
    told_at    TIMESTAMPTZ,
    PRIMARY KEY (alert_id, channel, step)
);

CREATE TABLE sources_heard (
    source_id UUID PRIMARY KEY,
    heard_at  TIMESTAMPTZ NOT NULL
);

INSERT INTO alert_notices (alert_id, channel, step, claimed_at, told_at)
SELECT id, 'webhook', 'open', open_notified_at, open_notified_at FROM alerts WHERE open_notified_at IS NOT NULL UNION ALL
SELECT id, 'webhook', 'closed', close_notified_at, close_notified_at FROM alerts WHERE close_notified_at IS NOT NULL;
ALTER TABLE alerts DROP COLUMN open_notified_at;
ALTER TABLE alerts DROP COLUMN close_notified_at;
