-- Times are milliseconds since the Unix epoch; roles and scopes are JSON arrays of texts. Texts are
-- compared by their bytes, as in SQLite.

-- The migration that a program must know at least to work with these tables. It is raised by those
-- migrations alone that take something away (docs/adr/0028).
CREATE TABLE schema_compatibility (needs BIGINT NOT NULL);
INSERT INTO schema_compatibility VALUES (1);

CREATE TABLE api_keys (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    kind       TEXT   NOT NULL,
    roles      TEXT   NOT NULL,
    scopes     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    revision   BIGINT NOT NULL,
    UNIQUE (tenant, name)
);

CREATE INDEX api_keys_of_tenant ON api_keys (tenant, id);

-- The digest is a SHA-256; no secret is kept.
CREATE TABLE api_key_secrets (
    lookup       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    key_id       TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    digest       BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT
);

CREATE INDEX api_key_secrets_of_key ON api_key_secrets (key_id);

-- A transaction sees and changes the rows of the one tenant that it has set, those of all tenants
-- where it has set that, and none where it has set nothing. What holds for reading holds for writing
-- where a policy says nothing else.
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON api_keys
    USING (current_setting('mcp_ultra.scope', true) IN ('all', 'tenant:' || tenant));

-- A secret is in scope when its key is: the policy of api_keys holds here too.
ALTER TABLE api_key_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON api_key_secrets
    USING (EXISTS (SELECT FROM api_keys WHERE api_keys.id = key_id));
