-- Since when a tool is not offered any more. How many approvals there were has a row of its own, so
-- that the number does not go back when pins are forgotten.
ALTER TABLE tool_pins ADD COLUMN gone_at BIGINT;
UPDATE tool_pins SET gone_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE NOT offered;
CREATE INDEX tool_pins_by_time_gone ON tool_pins (gone_at);

CREATE TABLE tool_approvals (number BIGINT NOT NULL);
INSERT INTO tool_approvals SELECT COALESCE(MAX(approval), 0) FROM tool_pins;

DROP INDEX tool_pins_by_approval;
ALTER TABLE tool_pins DROP COLUMN approval;
ALTER TABLE tool_pins DROP COLUMN offered;
