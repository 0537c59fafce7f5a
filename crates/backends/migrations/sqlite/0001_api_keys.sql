-- Times are milliseconds since the Unix epoch; roles and scopes are JSON arrays of texts.
CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    roles      TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    revision   BIGINT  NOT NULL,
    UNIQUE (tenant, name)
);

CREATE INDEX api_keys_of_tenant ON api_keys (tenant, id);

-- The digest is a SHA-256; no secret is kept.
CREATE TABLE api_key_secrets (
    lookup       TEXT   NOT NULL PRIMARY KEY,
    key_id       TEXT   NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    digest       BLOB   NOT NULL CHECK (length(digest) = 32),
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT
);

CREATE INDEX api_key_secrets_of_key ON api_key_secrets (key_id);
