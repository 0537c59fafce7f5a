use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use mcp_ultra_domain::{
    pinning::{Definition, Fingerprint, MOST_PINS, Pin, PinChange, PinHead, Sighting, Standing},
    ports::{PinStore, PinStoreError},
};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    super::columns::{ColumnError, to_count, to_millis, to_time},
    Sqlite,
};

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
impl PinStore for Sqlite {
    async fn of_server(&self, server: &str) -> Result<Vec<PinHead>, PinStoreError> {
        let rows = sqlx::query(HEADS).bind(server).fetch_all(&self.pool).await;
        rows.map_err(failed)?.iter().map(head).collect()
    }

    async fn saw(
        &self,
        server: &str,
        seen: &[Sighting],
        gone: &[String],
        now: Duration,
    ) -> Result<(), PinStoreError> {
        // It reads before it writes: the place of the one writer is taken first, so that nobody
        // else decides in between.
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        let mut tx = begun.map_err(failed)?;
        let rows = sqlx::query(HEADS).bind(server).fetch_all(&mut *tx).await;
        let heads = rows.map_err(failed)?;
        let heads: Vec<PinHead> = heads.iter().map(head).collect::<Result<_, _>>()?;
        let heads: HashMap<&str, &PinHead> = heads.iter().map(|head| (&*head.tool, head)).collect();
        let mut room = MOST_PINS.saturating_sub(heads.len());
        for sighting in seen {
            let known = heads.get(&*sighting.tool).copied();
            if known.is_none() && room == 0 {
                continue;
            }
            room -= usize::from(known.is_none());
            note(
                &mut tx,
                server,
                sighting,
                PinChange::of(known, sighting),
                now,
            )
            .await?;
        }
        for tool in gone {
            let gone = sqlx::query(GONE)
                .bind(server)
                .bind(tool)
                .bind(to_millis(now));
            gone.execute(&mut *tx).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    async fn get(&self, server: &str, tool: &str) -> Result<Option<Pin>, PinStoreError> {
        let row = sqlx::query(GET).bind(server).bind(tool);
        let row = row.fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(pin).transpose()
    }

    async fn list(
        &self,
        after: Option<(&str, &str)>,
        waiting: bool,
        limit: u32,
    ) -> Result<Vec<Pin>, PinStoreError> {
        let (server, tool) = after.unwrap_or_default();
        let rows = sqlx::query(LIST).bind(server).bind(tool).bind(waiting);
        let rows = rows.bind(limit).fetch_all(&self.pool).await;
        rows.map_err(failed)?.iter().map(pin).collect()
    }

    async fn approve(
        &self,
        server: &str,
        tool: &str,
        meant: Fingerprint,
        by: &str,
        now: Duration,
    ) -> Result<Pin, PinStoreError> {
        let approve = sqlx::query(APPROVE)
            .bind(server)
            .bind(tool)
            .bind(meant.to_string())
            .bind(to_millis(now))
            .bind(by);
        // It begins with the write, so that nobody else approves in between.
        let mut tx = self.pool.begin().await.map_err(failed)?;
        let approved = approve.execute(&mut *tx).await.map_err(failed)?;
        let approved = approved.rows_affected() == 1;
        if approved {
            let count = sqlx::query(COUNT).execute(&mut *tx).await;
            count.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        let pin = PinStore::get(self, server, tool).await?;
        let pin = pin.ok_or(PinStoreError::NotFound)?;
        if approved || pin.head().approved == Some(meant) {
            return Ok(pin);
        }
        Err(PinStoreError::Changed)
    }

    async fn forget(&self, server: &str, meant: &PinHead) -> Result<(), PinStoreError> {
        let text =
            |print: Option<Fingerprint>| print.map_or_else(String::new, |one| one.to_string());
        let (waiting, standing) = meant.waiting.unzip();
        let forget = sqlx::query(FORGET)
            .bind(server)
            .bind(&meant.tool)
            .bind(text(meant.approved))
            .bind(text(waiting))
            .bind(standing.map_or("", Standing::as_str))
            .bind(meant.offered);
        let forgotten = forget.execute(&self.pool).await.map_err(failed)?;
        if forgotten.rows_affected() == 1 {
            return Ok(());
        }
        let there = PinStore::get(self, server, &meant.tool).await?;
        Err(there.map_or(PinStoreError::NotFound, |_| PinStoreError::Changed))
    }

    async fn forget_gone(&self, before: Duration) -> Result<u64, PinStoreError> {
        let forget = sqlx::query(FORGET_GONE).bind(to_millis(before));
        let forgotten = forget.execute(&self.pool).await.map_err(failed)?;
        Ok(forgotten.rows_affected())
    }

    async fn only(&self, servers: &[&str], now: Duration) -> Result<(), PinStoreError> {
        let rows = sqlx::query(SERVERS).fetch_all(&self.pool).await;
        for row in rows.map_err(failed)? {
            let server: String = row.try_get("server").map_err(failed)?;
            if !servers.contains(&&*server) {
                let gone = sqlx::query(ALL_GONE).bind(&server).bind(to_millis(now));
                gone.execute(&self.pool).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn approvals(&self) -> Result<u64, PinStoreError> {
        let row = sqlx::query(APPROVALS).fetch_one(&self.pool).await;
        let number = row.map_err(failed)?.try_get("number").map_err(failed)?;
        to_count("number", number).map_err(|error| PinStoreError::Failed(error.to_string()))
    }
}

async fn note(
    tx: &mut SqliteConnection,
    server: &str,
    sighting: &Sighting,
    change: PinChange,
    now: Duration,
) -> Result<(), PinStoreError> {
    let Sighting {
        tool, definition, ..
    } = sighting;
    let findings = serde_json::json!(sighting.findings).to_string();
    let with_definition = |sql: &'static str| {
        sqlx::query(sql)
            .bind(server)
            .bind(tool)
            .bind(definition.fingerprint.to_string())
            .bind(definition.text.as_deref())
            .bind(to_millis(now))
            .bind(findings.clone())
    };
    let change = match change {
        PinChange::Nothing => sqlx::query(OFFERED).bind(server).bind(tool),
        PinChange::Approve => with_definition(APPROVE_NEW),
        PinChange::Return => sqlx::query(RETURN).bind(server).bind(tool).bind(findings),
        PinChange::Wait(standing) => with_definition(WAIT).bind(standing.as_str()),
    };
    change.execute(tx).await.map_err(failed)?;
    Ok(())
}

fn head(row: &SqliteRow) -> Result<PinHead, PinStoreError> {
    let read = || -> Result<_, sqlx::Error> {
        let waiting = fingerprint(row, "waiting")?;
        Ok(PinHead {
            tool: row.try_get("tool")?,
            approved: fingerprint(row, "approved")?,
            waiting: waiting
                .map(|one| Ok::<_, sqlx::Error>((one, standing(row)?)))
                .transpose()?,
            offered: row.try_get::<Option<i64>, _>("gone_at")?.is_none(),
        })
    };
    read().map_err(failed)
}

fn pin(row: &SqliteRow) -> Result<Pin, PinStoreError> {
    let read = || -> Result<_, sqlx::Error> {
        let findings: &str = row.try_get("findings")?;
        let waiting = definition(row, "waiting", "waiting_text", "waiting_at")?;
        Ok(Pin {
            server: row.try_get("server")?,
            tool: row.try_get("tool")?,
            approved: definition(row, "approved", "approved_text", "approved_at")?,
            approved_by: row.try_get("approved_by")?,
            waiting: waiting
                .map(|one| Ok::<_, sqlx::Error>((one, standing(row)?)))
                .transpose()?,
            findings: serde_json::from_str(findings).map_err(|_| unknown("findings"))?,
            gone: row.try_get::<Option<i64>, _>("gone_at")?.map(to_time),
        })
    };
    read().map_err(failed)
}

fn definition(
    row: &SqliteRow,
    print: &'static str,
    text: &str,
    at: &str,
) -> Result<Option<Definition>, sqlx::Error> {
    let Some(fingerprint) = fingerprint(row, print)? else {
        return Ok(None);
    };
    let text: Option<String> = row.try_get(text)?;
    Ok(Some(Definition {
        fingerprint,
        text: text.map(Into::into),
        at: to_time(row.try_get(at)?),
    }))
}

fn fingerprint(row: &SqliteRow, column: &'static str) -> Result<Option<Fingerprint>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| unknown(column)))
        .transpose()
}

fn standing(row: &SqliteRow) -> Result<Standing, sqlx::Error> {
    Standing::parse(row.try_get("standing")?).ok_or_else(|| unknown("standing"))
}

fn unknown(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(ColumnError(column).into())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: sqlx::Error) -> PinStoreError {
    PinStoreError::Failed(error.to_string())
}
