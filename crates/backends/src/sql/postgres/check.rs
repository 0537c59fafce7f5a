//! What is looked at once, when the gateway connects: that the server is new enough, that row-level
//! security holds for the gateway's user, and that the tables serve this version.

use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};

use super::connect::{At, check_version};
use crate::sql::{
    error::OpenError,
    migrations::postgres::{Fit, TABLES},
};

const USER: &str = "SELECT rolname::text AS name, rolsuper AS is_superuser, \
    rolbypassrls AS is_exempt, EXISTS ( \
        SELECT FROM pg_class \
        WHERE relkind = 'r' AND relname = ANY($1) AND pg_has_role(relowner, 'MEMBER') \
    ) AS is_owner \
    FROM pg_roles WHERE rolname = current_user";

/// Refuses a database that the gateway must not, or can't, work with.
pub(super) async fn check(options: &PgConnectOptions, at: &At) -> Result<(), OpenError> {
    // Not from the pool, which tries until its time is over and then does not say why.
    let mut connection = at.within(options.connect()).await?;
    at.within(check_all(&mut connection, at)).await?;
    connection.close().await.ok();
    Ok(())
}

async fn check_all(connection: &mut PgConnection, at: &At) -> Result<(), OpenError> {
    let mut tx = connection.begin().await.map_err(at.failed())?;
    check_version(&mut tx, at).await?;
    check_user(&mut tx, at).await?;
    let fit = Fit::of(&mut tx).await.map_err(at.failed())?;
    tx.rollback().await.map_err(at.failed())?;
    if !fit.missing.is_empty() {
        let missing: Vec<String> = fit.missing.iter().map(ToString::to_string).collect();
        return Err(OpenError::Behind {
            at: at.to_string(),
            missing: missing.join(", "),
        });
    }
    match fit.needs {
        Some(needs) => Err(OpenError::Ahead {
            at: at.to_string(),
            needs,
        }),
        None => Ok(()),
    }
}

async fn check_user(connection: &mut PgConnection, at: &At) -> Result<(), OpenError> {
    let row = sqlx::query(USER).bind(&TABLES[..]).persistent(false);
    let row = row.fetch_one(connection).await.map_err(at.failed())?;
    let reasons = [
        ("is_superuser", "is a superuser"),
        ("is_exempt", "is exempt from it (BYPASSRLS)"),
        ("is_owner", "owns tables, and could switch it off"),
    ];
    for (column, why) in reasons {
        if row.try_get(column).map_err(at.failed())? {
            return Err(OpenError::Privileged {
                at: at.to_string(),
                user: row.try_get("name").map_err(at.failed())?,
                why,
            });
        }
    }
    Ok(())
}
