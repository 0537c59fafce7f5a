-- Definitions of tools: the one that was agreed to, and another one that waits for approval. Texts
-- are as the servers sent them, for showing what differs; findings are a JSON array. `approval` is
-- the number of the last approval, so that gateways see that there was one.
CREATE TABLE tool_pins (
    server        TEXT    NOT NULL,
    tool          TEXT    NOT NULL,
    approved      TEXT,
    approved_text TEXT,
    approved_at   BIGINT,
    approved_by   TEXT,
    waiting       TEXT,
    waiting_text  TEXT,
    waiting_at    BIGINT,
    standing      TEXT,
    findings      TEXT    NOT NULL,
    offered       BOOLEAN NOT NULL,
    approval      BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (server, tool)
);

CREATE INDEX tool_pins_by_approval ON tool_pins (approval);
