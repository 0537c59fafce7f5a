-- Since when a tool is not offered any more. How many approvals there were has a row of its own, so
-- that the number does not go back when pins are forgotten.
ALTER TABLE tool_pins ADD COLUMN gone_at BIGINT;
CREATE INDEX tool_pins_by_time_gone ON tool_pins (gone_at);

CREATE TABLE tool_approvals (number BIGINT NOT NULL);
INSERT INTO tool_approvals VALUES (0);

ALTER TABLE tool_approvals ENABLE ROW LEVEL SECURITY;
ALTER TABLE tool_approvals FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON tool_approvals
    USING (current_setting('mcp_ultra.scope', true) = 'all');
