-- Servers, policies and feature flags that are changed at run time: the text that a file would have,
-- and the revision of the registry that it was put in by.
CREATE TABLE registry_entries (
    kind       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    body       TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    changed_by TEXT   NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- The last changes; one without a body took its entry away.
CREATE TABLE registry_changes (
    revision   BIGINT NOT NULL PRIMARY KEY,
    kind       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    body       TEXT,
    changed_by TEXT   NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE INDEX registry_changes_by_entry ON registry_changes (kind, name, revision);

-- How many changes there were: what gateways look for.
CREATE TABLE registry_revision (number BIGINT NOT NULL);
INSERT INTO registry_revision VALUES (0);

-- Servers and policies are above tenants.
ALTER TABLE registry_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE registry_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON registry_entries
    USING (current_setting('mcp_ultra.scope', true) = 'all');
ALTER TABLE registry_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE registry_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON registry_changes
    USING (current_setting('mcp_ultra.scope', true) = 'all');
ALTER TABLE registry_revision ENABLE ROW LEVEL SECURITY;
ALTER TABLE registry_revision FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON registry_revision
    USING (current_setting('mcp_ultra.scope', true) = 'all');
