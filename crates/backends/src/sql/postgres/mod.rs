//! PostgreSQL, directly or behind a PgBouncer in transaction mode: pools of connections, and the
//! transactions on them.

mod breaker;
mod check;
pub(super) mod connect;
mod replica;
mod session;

use std::{sync::Arc, time::Duration};

use mcp_ultra_config::PostgresSettings;
use sqlx::{PgPool, postgres::PgPoolOptions};

use self::{connect::At, replica::Replica};
use super::{
    error::{OpenError, SqlError},
    transaction::{Access, Scope},
};

pub(super) use breaker::PrimaryBreaker;
pub(super) use session::Session;

/// How long a connection lives at most, so that a server that was replaced, or a password that was
/// withdrawn, is noticed.
const LIFETIME: Duration = Duration::from_mins(30);
/// How long one that is not needed is kept.
const IDLE: Duration = Duration::from_mins(5);

/// A server, and perhaps a replica of it.
#[derive(Debug, Clone)]
pub(super) struct Postgres {
    primary: PgPool,
    replica: Option<Arc<Replica>>,
    statement_timeout: Duration,
    pub(super) breaker: Arc<PrimaryBreaker>,
}

impl Postgres {
    /// Checks what must hold of the server, and keeps connections to it from now on.
    pub(super) async fn connect(settings: &PostgresSettings) -> Result<Self, OpenError> {
        connect::check_files(&settings.tls)?;
        let at = At::primary(settings);
        let options = connect::options(settings, &settings.host, settings.port);
        check::check(&options, &at).await?;
        let pool = &settings.pool;
        let primary = PgPoolOptions::new()
            .max_connections(pool.max.get())
            .min_connections(pool.min)
            .acquire_timeout(pool.acquire_timeout.get())
            .max_lifetime(LIFETIME)
            .idle_timeout(IDLE)
            .connect_lazy_with(options);
        let replica = settings.replica.as_ref();
        Ok(Self {
            primary,
            replica: replica.map(|server| Arc::new(Replica::new(settings, server))),
            statement_timeout: settings.statement_timeout.get(),
            breaker: Arc::new(PrimaryBreaker::new(settings)),
        })
    }

    pub(super) async fn begin(
        &self,
        scope: Scope<'_>,
        access: Access,
    ) -> Result<Session, SqlError> {
        if access == Access::Stale
            && let Some(replica) = &self.replica
            && let Some(session) = replica.begin(scope, self.statement_timeout).await
        {
            return Ok(session);
        }
        // The gateway is ending, which says nothing of the server.
        if self.primary.is_closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        let begun = async {
            let connection = self.primary.acquire().await?;
            Session::begin(connection, scope, access, self.statement_timeout).await
        };
        self.breaker.pass(begun).await
    }

    pub(super) fn renew(&self, settings: &PostgresSettings) {
        let options = connect::options(settings, &settings.host, settings.port);
        self.primary.set_connect_options(options);
        if let (Some(replica), Some(server)) = (&self.replica, &settings.replica) {
            replica.renew(settings, server);
        }
    }

    pub(super) async fn close(&self) {
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        self.primary.close().await;
    }
}
