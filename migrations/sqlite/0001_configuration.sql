-- Who may send, what is paid, who is told. Every row carries the configuration version of its last change,
-- so that an instance reloads only what is newer than what it holds. Rows are never deleted.

CREATE TABLE config_version (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER  NOT NULL
) STRICT;
INSERT INTO config_version (id, version) VALUES (1, 0);

CREATE TABLE operators (
    id         BLOB PRIMARY KEY,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE sources (
    id               BLOB PRIMARY KEY,
    operator_id      BLOB NOT NULL REFERENCES operators (id),
    name             TEXT NOT NULL,
    signature_scheme TEXT NOT NULL,
    payout_override  INTEGER NOT NULL,
    test             INTEGER NOT NULL,
    status           TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    version          INTEGER NOT NULL
) STRICT;

CREATE TABLE source_secrets (
    id         BLOB PRIMARY KEY,
    source_id  BLOB NOT NULL REFERENCES sources (id),
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE plans (
    id          BLOB PRIMARY KEY,
    operator_id BLOB NOT NULL REFERENCES operators (id),
    name        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    version     INTEGER NOT NULL
) STRICT;

CREATE TABLE plan_versions (
    id         BLOB PRIMARY KEY,
    plan_id    BLOB NOT NULL REFERENCES plans (id),
    valid_from INTEGER NOT NULL,
    terms      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE programs (
    id                      BLOB PRIMARY KEY,
    operator_id             BLOB NOT NULL REFERENCES operators (id),
    name                    TEXT NOT NULL,
    currency                TEXT NOT NULL,
    destination_url         TEXT NOT NULL,
    attribution_window_days INTEGER NOT NULL CHECK (attribution_window_days > 0),
    default_plan_id         BLOB REFERENCES plans (id),
    status                  TEXT NOT NULL,
    created_at              INTEGER NOT NULL,
    version                 INTEGER NOT NULL
) STRICT;

CREATE TABLE goals (
    id                BLOB PRIMARY KEY,
    program_id        BLOB NOT NULL REFERENCES programs (id),
    name              TEXT NOT NULL,
    policy            TEXT NOT NULL,
    default_status    TEXT NOT NULL,
    min_click_seconds INTEGER NOT NULL CHECK (min_click_seconds >= 0),
    created_at        INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    UNIQUE (program_id, name)
) STRICT;

CREATE TABLE affiliates (
    id         BLOB PRIMARY KEY,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE agreements (
    id           BLOB PRIMARY KEY,
    affiliate_id BLOB NOT NULL REFERENCES affiliates (id),
    program_id   BLOB NOT NULL REFERENCES programs (id),
    plan_id      BLOB NOT NULL REFERENCES plans (id),
    created_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    UNIQUE (affiliate_id, program_id)
) STRICT;

CREATE TABLE links (
    id           BLOB PRIMARY KEY,
    code         TEXT NOT NULL UNIQUE,
    program_id   BLOB NOT NULL REFERENCES programs (id),
    affiliate_id BLOB NOT NULL REFERENCES affiliates (id),
    status       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id              BLOB PRIMARY KEY,
    public_id       TEXT NOT NULL UNIQUE,
    hash            BLOB NOT NULL,
    name            TEXT NOT NULL,
    role            TEXT NOT NULL,
    operator_id     BLOB REFERENCES operators (id),
    source_id       BLOB REFERENCES sources (id),
    affiliate_id    BLOB REFERENCES affiliates (id),
    ip_allowlist    TEXT NOT NULL,
    rate_per_minute INTEGER NOT NULL CHECK (rate_per_minute > 0),
    expires_at      INTEGER,
    revoked_at      INTEGER,
    created_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL
) STRICT;

CREATE TABLE endpoints (
    id           BLOB PRIMARY KEY,
    affiliate_id BLOB REFERENCES affiliates (id),
    operator_id  BLOB REFERENCES operators (id),
    url          TEXT NOT NULL,
    event_types  TEXT NOT NULL,
    status       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    CHECK ((affiliate_id IS NULL) <> (operator_id IS NULL))
) STRICT;

CREATE TABLE endpoint_secrets (
    id          BLOB PRIMARY KEY,
    endpoint_id BLOB NOT NULL REFERENCES endpoints (id),
    sealed      BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    version     INTEGER NOT NULL
) STRICT;

-- Keys that vouch for click ids of our own. The number is written into each click id.
CREATE TABLE mac_keys (
    number     INTEGER PRIMARY KEY CHECK (number BETWEEN 0 AND 255),
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    version    INTEGER NOT NULL
) STRICT;
