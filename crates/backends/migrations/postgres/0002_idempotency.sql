-- What was asked under which idempotency key; the digest is of the request.
CREATE TABLE idempotency_keys (
    owner      TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    digest     BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    made       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- It knows no tenant, so that what acts for one has no business here.
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON idempotency_keys
    USING (current_setting('mcp_ultra.scope', true) = 'all');
