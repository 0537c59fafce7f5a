//! Definitions of tools. Servers are above tenants, and so is what is known of their tools.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_domain::{
    pinning::{
        Definition, Fingerprint, LONGEST_NAME, MOST_PINS, Pin, PinChange, PinHead, Sighting,
        Standing,
    },
    ports::{PinStore, PinStoreError},
};

use crate::sql::{
    Database,
    columns::{to_count, to_millis, to_time},
    error::SqlError,
    row::Row,
    transaction::{Access, Lock, Scope, Transaction},
    value::values,
};

/// For [`Lock`].
const TABLE: &str = "tool_pins";

const HEADS: &str = "SELECT tool, approved, waiting, standing, gone_at FROM tool_pins \
    WHERE server = $1 ORDER BY tool";
const APPROVE_NEW: &str = "INSERT INTO tool_pins \
    (server, tool, approved, approved_text, approved_at, findings) \
    VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (server, tool) DO UPDATE SET \
    approved = $3, approved_text = $4, approved_at = $5, approved_by = NULL, findings = $6, \
    waiting = NULL, waiting_text = NULL, waiting_at = NULL, standing = NULL, gone_at = NULL";
const WAIT: &str = "INSERT INTO tool_pins \
    (server, tool, waiting, waiting_text, waiting_at, findings, standing) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) \
    ON CONFLICT (server, tool) DO UPDATE SET \
    waiting = $3, waiting_text = $4, waiting_at = $5, findings = $6, standing = $7, gone_at = NULL";
const RETURN: &str = "UPDATE tool_pins SET \
    waiting = NULL, waiting_text = NULL, waiting_at = NULL, standing = NULL, findings = $3, \
    gone_at = NULL WHERE server = $1 AND tool = $2";
const OFFERED: &str = "UPDATE tool_pins SET gone_at = NULL WHERE server = $1 AND tool = $2";
// It is gone since it was first missed.
const GONE: &str = "UPDATE tool_pins SET gone_at = $3 \
    WHERE server = $1 AND tool = $2 AND gone_at IS NULL";
const ALL_GONE: &str = "UPDATE tool_pins SET gone_at = $2 WHERE server = $1 AND gone_at IS NULL";
const SERVERS: &str = "SELECT DISTINCT server FROM tool_pins WHERE gone_at IS NULL";
// Compare and delete.
const FORGET: &str = "DELETE FROM tool_pins WHERE server = $1 AND tool = $2 AND gone_at IS NOT NULL \
    AND COALESCE(approved, '') = $3 AND COALESCE(waiting, '') = $4 AND COALESCE(standing, '') = $5 \
    AND NOT $6";
const FORGET_GONE: &str = "DELETE FROM tool_pins WHERE gone_at < $1 AND waiting IS NULL";
const GET: &str = "SELECT * FROM tool_pins WHERE server = $1 AND tool = $2";
const LIST: &str = "SELECT * FROM tool_pins \
    WHERE (server > $1 OR (server = $1 AND tool > $2)) AND (waiting IS NOT NULL OR NOT $3) \
    ORDER BY server, tool LIMIT $4";
// Compare and set: it is approved only if it still is what waits.
const APPROVE: &str = "UPDATE tool_pins SET \
    approved = waiting, approved_text = waiting_text, approved_at = $4, approved_by = $5, \
    waiting = NULL, waiting_text = NULL, waiting_at = NULL, standing = NULL \
    WHERE server = $1 AND tool = $2 AND waiting = $3 \
    AND (approved IS NULL OR approved <> $3)";
const COUNT: &str = "UPDATE tool_approvals SET number = number + 1";
const APPROVALS: &str = "SELECT number FROM tool_approvals";

#[async_trait]
impl PinStore for Database {
    async fn of_server(&self, server: &str) -> Result<Vec<PinHead>, PinStoreError> {
        let of = values![server];
        let rows = self.fetch_all(Scope::All, Access::Read, HEADS, of);
        Ok(rows.await?.iter().map(head).collect::<Result<_, _>>()?)
    }

    async fn saw(
        &self,
        server: &str,
        seen: &[Sighting],
        gone: &[String],
        now: Duration,
    ) -> Result<(), PinStoreError> {
        let mut tx = self.decide_about(server).await?;
        let rows = tx.fetch_all(HEADS, values![server]).await?;
        let heads: Vec<PinHead> = rows.iter().map(head).collect::<Result<_, _>>()?;
        let heads: HashMap<&str, &PinHead> = heads.iter().map(|head| (&*head.tool, head)).collect();
        let mut room = MOST_PINS.saturating_sub(heads.len());
        for sighting in seen {
            let known = heads.get(&*sighting.tool).copied();
            if known.is_none() && (room == 0 || sighting.tool.len() > LONGEST_NAME) {
                continue;
            }
            room -= usize::from(known.is_none());
            let change = PinChange::of(known, sighting);
            note(&mut tx, server, sighting, change, now).await?;
        }
        for tool in gone {
            let gone = values![server, tool, to_millis(now)];
            tx.execute(GONE, gone).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn get(&self, server: &str, tool: &str) -> Result<Option<Pin>, PinStoreError> {
        let of = values![server, tool];
        let row = self.fetch_optional(Scope::All, GET, of).await?;
        Ok(row.as_ref().map(pin).transpose()?)
    }

    async fn list(
        &self,
        after: Option<(&str, &str)>,
        waiting: bool,
        limit: u32,
    ) -> Result<Vec<Pin>, PinStoreError> {
        let (server, tool) = after.unwrap_or_default();
        let page = values![server, tool, waiting, limit];
        let rows = self.fetch_all(Scope::All, Access::Stale, LIST, page);
        Ok(rows.await?.iter().map(pin).collect::<Result<_, _>>()?)
    }

    async fn approve(
        &self,
        server: &str,
        tool: &str,
        meant: Fingerprint,
        by: &str,
        now: Duration,
    ) -> Result<Pin, PinStoreError> {
        let mut tx = self.decide_about(server).await?;
        let approve = values![server, tool, meant.to_string(), to_millis(now), by];
        let approved = tx.execute(APPROVE, approve).await? == 1;
        if approved {
            tx.execute(COUNT, &[]).await?;
        }
        let row = tx.fetch_optional(GET, values![server, tool]).await?;
        tx.commit().await?;
        let pin = pin(&row.ok_or(PinStoreError::NotFound)?)?;
        if approved || pin.head().approved == Some(meant) {
            return Ok(pin);
        }
        Err(PinStoreError::Changed)
    }

    async fn forget(&self, server: &str, meant: &PinHead) -> Result<(), PinStoreError> {
        let text =
            |print: Option<Fingerprint>| print.map_or_else(String::new, |one| one.to_string());
        let (waiting, standing) = meant.waiting.unzip();
        let forget = values![
            server,
            &meant.tool,
            text(meant.approved),
            text(waiting),
            standing.map_or("", Standing::as_str),
            meant.offered,
        ];
        let mut tx = self.decide_about(server).await?;
        let forgotten = tx.execute(FORGET, forget).await? == 1;
        let there = tx.fetch_optional(GET, values![server, &meant.tool]).await?;
        tx.commit().await?;
        match there {
            _ if forgotten => Ok(()),
            Some(_) => Err(PinStoreError::Changed),
            None => Err(PinStoreError::NotFound),
        }
    }

    async fn forget_gone(&self, before: Duration) -> Result<u64, PinStoreError> {
        let mut tx = self.decide_about_all().await?;
        let forgotten = tx.execute(FORGET_GONE, values![to_millis(before)]).await?;
        tx.commit().await?;
        Ok(forgotten)
    }

    async fn only(&self, servers: &[&str], now: Duration) -> Result<(), PinStoreError> {
        let read: HashSet<&str> = servers.iter().copied().collect();
        let mut tx = self.decide_about_all().await?;
        for row in tx.fetch_all(SERVERS, &[]).await? {
            let server: String = row.get("server")?;
            if !read.contains(&*server) {
                tx.execute(ALL_GONE, values![&server, to_millis(now)])
                    .await?;
            }
        }
        Ok(tx.commit().await?)
    }

    async fn approvals(&self) -> Result<u64, PinStoreError> {
        let row = self.fetch_optional(Scope::All, APPROVALS, &[]).await?;
        let row = row.ok_or(SqlError::Column("number"))?;
        Ok(to_count("number", row.get("number")?)?)
    }
}

impl Database {
    /// A transaction in which nobody else decides about the tools of this server.
    async fn decide_about(&self, server: &str) -> Result<Transaction, SqlError> {
        let mut tx = self.begin(Scope::All, Access::Write).await?;
        tx.lock(Lock::Item(TABLE, server)).await?;
        Ok(tx)
    }

    /// A transaction in which nobody else decides about any tool.
    async fn decide_about_all(&self) -> Result<Transaction, SqlError> {
        let mut tx = self.begin(Scope::All, Access::Write).await?;
        tx.lock(Lock::Table(TABLE)).await?;
        Ok(tx)
    }
}

async fn note(
    tx: &mut Transaction,
    server: &str,
    sighting: &Sighting,
    change: PinChange,
    now: Duration,
) -> Result<(), SqlError> {
    let Sighting {
        tool, definition, ..
    } = sighting;
    let findings = serde_json::json!(sighting.findings).to_string();
    let print = definition.fingerprint.to_string();
    let (text, at) = (definition.text.as_deref(), to_millis(now));
    match change {
        PinChange::Nothing => tx.execute(OFFERED, values![server, tool]).await,
        PinChange::Approve => {
            let values = values![server, tool, print, text, at, findings];
            tx.execute(APPROVE_NEW, values).await
        }
        PinChange::Return => tx.execute(RETURN, values![server, tool, findings]).await,
        PinChange::Wait(standing) => {
            let values = values![server, tool, print, text, at, findings, standing.as_str()];
            tx.execute(WAIT, values).await
        }
    }?;
    Ok(())
}

fn head(row: &Row) -> Result<PinHead, SqlError> {
    let waiting = fingerprint(row, "waiting")?;
    Ok(PinHead {
        tool: row.get("tool")?,
        approved: fingerprint(row, "approved")?,
        waiting: waiting
            .map(|one| Ok::<_, SqlError>((one, standing(row)?)))
            .transpose()?,
        offered: row.get::<Option<i64>>("gone_at")?.is_none(),
    })
}

fn pin(row: &Row) -> Result<Pin, SqlError> {
    let findings: String = row.get("findings")?;
    let waiting = definition(row, "waiting", "waiting_text", "waiting_at")?;
    Ok(Pin {
        server: row.get("server")?,
        tool: row.get("tool")?,
        approved: definition(row, "approved", "approved_text", "approved_at")?,
        approved_by: row.get("approved_by")?,
        waiting: waiting
            .map(|one| Ok::<_, SqlError>((one, standing(row)?)))
            .transpose()?,
        findings: serde_json::from_str(&findings).map_err(|_| SqlError::Column("findings"))?,
        gone: row.get::<Option<i64>>("gone_at")?.map(to_time),
    })
}

fn definition(
    row: &Row,
    print: &'static str,
    text: &'static str,
    at: &'static str,
) -> Result<Option<Definition>, SqlError> {
    let Some(fingerprint) = fingerprint(row, print)? else {
        return Ok(None);
    };
    let text: Option<String> = row.get(text)?;
    Ok(Some(Definition {
        fingerprint,
        text: text.map(Into::into),
        at: to_time(row.get(at)?),
    }))
}

fn fingerprint(row: &Row, column: &'static str) -> Result<Option<Fingerprint>, SqlError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| SqlError::Column(column)))
        .transpose()
}

fn standing(row: &Row) -> Result<Standing, SqlError> {
    let text: String = row.get("standing")?;
    Standing::parse(&text).ok_or(SqlError::Column("standing"))
}
