-- What principals have allowed the gateway to do at servers in their name. The tokens are sealed by
-- the gateway before they come here.
CREATE TABLE grants (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    principal  TEXT COLLATE "C" NOT NULL,
    issuer     TEXT   NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    server     TEXT COLLATE "C" NOT NULL,
    scopes     TEXT   NOT NULL,
    tokens     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    UNIQUE (principal, server)
);

CREATE INDEX grants_of_tenant ON grants (tenant, id);
CREATE INDEX grants_of_subject ON grants (tenant, subject, id);

ALTER TABLE grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE grants FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON grants
    USING (current_setting('mcp_ultra.scope', true) IN ('all', 'tenant:' || tenant));
