-- What principals have allowed the gateway to do at servers in their name. The tokens are sealed by
-- the gateway before they come here.
CREATE TABLE grants (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    principal  TEXT   NOT NULL,
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    server     TEXT   NOT NULL,
    scopes     TEXT   NOT NULL,
    tokens     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    UNIQUE (principal, server)
);

CREATE INDEX grants_of_tenant ON grants (tenant, id);
CREATE INDEX grants_of_subject ON grants (tenant, subject, id);
