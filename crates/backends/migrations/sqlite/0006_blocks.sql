-- Callers who are refused for a time.
CREATE TABLE blocks (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    since_at   BIGINT NOT NULL,
    until_at   BIGINT NOT NULL
);

CREATE INDEX blocks_by_end ON blocks (until_at);
