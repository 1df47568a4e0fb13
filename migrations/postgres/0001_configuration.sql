-- Who may send, what is paid, who is told. Every row carries the configuration version of its last change,
-- so that an instance reloads only what is newer than what it holds. Rows are never deleted.

CREATE TABLE config_version (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version BIGINT  NOT NULL
);
INSERT INTO config_version (id, version) VALUES (1, 0);

CREATE TABLE operators (
    id         UUID PRIMARY KEY,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE sources (
    id               UUID PRIMARY KEY,
    operator_id      UUID NOT NULL REFERENCES operators (id),
    name             TEXT NOT NULL,
    signature_scheme TEXT NOT NULL,
    payout_override  BOOLEAN NOT NULL,
    test             BOOLEAN NOT NULL,
    status           TEXT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    version          BIGINT NOT NULL
);

CREATE TABLE source_secrets (
    id         UUID PRIMARY KEY,
    source_id  UUID NOT NULL REFERENCES sources (id),
    sealed     BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    version    BIGINT NOT NULL
);

CREATE TABLE plans (
    id          UUID PRIMARY KEY,
    operator_id UUID NOT NULL REFERENCES operators (id),
    name        TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    version     BIGINT NOT NULL
);

CREATE TABLE plan_versions (
    id         UUID PRIMARY KEY,
    plan_id    UUID NOT NULL REFERENCES plans (id),
    valid_from TIMESTAMPTZ NOT NULL,
    terms      TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE programs (
    id                      UUID PRIMARY KEY,
    operator_id             UUID NOT NULL REFERENCES operators (id),
    name                    TEXT NOT NULL,
    currency                TEXT NOT NULL,
    destination_url         TEXT NOT NULL,
    attribution_window_days INTEGER NOT NULL CHECK (attribution_window_days > 0),
    default_plan_id         UUID REFERENCES plans (id),
    status                  TEXT NOT NULL,
    created_at              TIMESTAMPTZ NOT NULL,
    version                 BIGINT NOT NULL
);

CREATE TABLE goals (
    id                UUID PRIMARY KEY,
    program_id        UUID NOT NULL REFERENCES programs (id),
    name              TEXT NOT NULL,
    policy            TEXT NOT NULL,
    default_status    TEXT NOT NULL,
    min_click_seconds BIGINT NOT NULL CHECK (min_click_seconds >= 0),
    created_at        TIMESTAMPTZ NOT NULL,
    version           BIGINT NOT NULL,
    UNIQUE (program_id, name)
);

CREATE TABLE affiliates (
    id         UUID PRIMARY KEY,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE agreements (
    id           UUID PRIMARY KEY,
    affiliate_id UUID NOT NULL REFERENCES affiliates (id),
    program_id   UUID NOT NULL REFERENCES programs (id),
    plan_id      UUID NOT NULL REFERENCES plans (id),
    created_at   TIMESTAMPTZ NOT NULL,
    version      BIGINT NOT NULL,
    UNIQUE (affiliate_id, program_id)
);

CREATE TABLE links (
    id           UUID PRIMARY KEY,
    code         TEXT NOT NULL UNIQUE,
    program_id   UUID NOT NULL REFERENCES programs (id),
    affiliate_id UUID NOT NULL REFERENCES affiliates (id),
    status       TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    version      BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id              UUID PRIMARY KEY,
    public_id       TEXT NOT NULL UNIQUE,
    hash            BYTEA NOT NULL,
    name            TEXT NOT NULL,
    role            TEXT NOT NULL,
    operator_id     UUID REFERENCES operators (id),
    source_id       UUID REFERENCES sources (id),
    affiliate_id    UUID REFERENCES affiliates (id),
    ip_allowlist    TEXT NOT NULL,
    rate_per_minute INTEGER NOT NULL CHECK (rate_per_minute > 0),
    expires_at      TIMESTAMPTZ,
    revoked_at      TIMESTAMPTZ,
    created_at      TIMESTAMPTZ NOT NULL,
    version         BIGINT NOT NULL
);

CREATE TABLE endpoints (
    id           UUID PRIMARY KEY,
    affiliate_id UUID REFERENCES affiliates (id),
    operator_id  UUID REFERENCES operators (id),
    url          TEXT NOT NULL,
    event_types  TEXT NOT NULL,
    status       TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    version      BIGINT NOT NULL,
    CHECK ((affiliate_id IS NULL) <> (operator_id IS NULL))
);

CREATE TABLE endpoint_secrets (
    id          UUID PRIMARY KEY,
    endpoint_id UUID NOT NULL REFERENCES endpoints (id),
    sealed      BYTEA NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ,
    version     BIGINT NOT NULL
);

-- Keys that vouch for click ids of our own. The number is written into each click id.
CREATE TABLE mac_keys (
    number     INTEGER PRIMARY KEY CHECK (number BETWEEN 0 AND 255),
    sealed     BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    version    BIGINT NOT NULL
);
