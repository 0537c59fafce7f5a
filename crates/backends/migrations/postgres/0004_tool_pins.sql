-- Definitions of tools: the one that was agreed to, and another one that waits for approval. Texts
-- are as the servers sent them, for showing what differs; findings are a JSON array.
CREATE TABLE tool_pins (
    server        TEXT COLLATE "C" NOT NULL,
    tool          TEXT COLLATE "C" NOT NULL,
    approved      TEXT,
    approved_text TEXT,
    approved_at   BIGINT,
    approved_by   TEXT,
    waiting       TEXT,
    waiting_text  TEXT,
    waiting_at    BIGINT,
    standing      TEXT,
    findings      TEXT NOT NULL,
    PRIMARY KEY (server, tool)
);

-- Servers are above tenants.
ALTER TABLE tool_pins ENABLE ROW LEVEL SECURITY;
ALTER TABLE tool_pins FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON tool_pins
    USING (current_setting('mcp_ultra.scope', true) = 'all');
