-- Callers who are refused for a time.
CREATE TABLE blocks (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    since_at   BIGINT NOT NULL,
    until_at   BIGINT NOT NULL
);

CREATE INDEX blocks_by_end ON blocks (until_at);

ALTER TABLE blocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE blocks FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON blocks
    USING (current_setting('mcp_ultra.scope', true) IN ('all', 'tenant:' || tenant));
