-- An alert may be about one thing of several (`subject`, such as a source) and is closed when nobody has seen it hold for a
-- while (`seen_at`). Each channel is told of each opening and closing by whoever claimed the notice. When each source was
-- last heard lies apart from the sources, which are versioned configuration.

DROP INDEX alerts_open;
ALTER TABLE alerts ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE alerts ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX alerts_open ON alerts (name, subject) WHERE closed_at IS NULL;

CREATE TABLE alert_notices (
    alert_id   BLOB NOT NULL,
    channel    TEXT NOT NULL,
    step       TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    told_at    INTEGER,
    PRIMARY KEY (alert_id, channel, step)
) STRICT;

CREATE TABLE sources_heard (
    source_id BLOB PRIMARY KEY,
    heard_at  INTEGER NOT NULL
) STRICT;

INSERT INTO alert_notices (alert_id, channel, step, claimed_at, told_at)
SELECT id, 'webhook', 'open', open_notified_at, open_notified_at FROM alerts WHERE open_notified_at IS NOT NULL UNION ALL
SELECT id, 'webhook', 'closed', close_notified_at, close_notified_at FROM alerts WHERE close_notified_at IS NOT NULL;
ALTER TABLE alerts DROP COLUMN open_notified_at;
ALTER TABLE alerts DROP COLUMN close_notified_at;
