//! How a client reaches a database, and as whom.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use url::Url;

use crate::stores::{StoreError, tool};

/// What a client needs to log in. All connections are by TLS.
#[derive(Clone, Debug)]
pub struct Login {
    /// The server, or what stands in front of it.
    pub address: SocketAddr,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The database.
    pub database: String,
    /// The file of the authority that has signed the server's certificate, as PEM.
    pub authority: PathBuf,
    pub(in crate::stores) psql: PathBuf,
}

impl Login {
    /// The same for another role.
    pub fn user(&self, user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            ..self.clone()
        }
    }

    /// The same for another database.
    pub fn database(&self, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// The same through something in front of the server, for example a [`Fault`](crate::stores::Fault).
    pub fn at(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// As a URL with `sslmode=verify-full` and `sslrootcert`.
    pub fn url(&self) -> String {
        let text = format!("postgres://{}/{}", self.address, self.database);
        let Ok(mut url) = Url::parse(&text) else {
            return text;
        };
        // Both can fail only for URLs without a host.
        let _ = url.set_username(&self.user);
        let _ = url.set_password(Some(&self.password));
        url.query_pairs_mut()
            .append_pair("sslmode", "verify-full")
            .append_pair("sslrootcert", &self.authority.to_string_lossy());
        url.into()
    }

    /// What `psql` answers to one or more statements: rows as lines, columns separated by `|`.
    pub async fn sql(&self, sql: &str) -> Result<String, StoreError> {
        self.psql(sql, "verify-full", "15").await
    }

    /// The same with another `sslmode`, and with so many seconds for connecting.
    pub async fn psql(
        &self,
        sql: &str,
        sslmode: &str,
        connect_timeout: &str,
    ) -> Result<String, StoreError> {
        let host = self.address.ip().to_string();
        let port = self.address.port().to_string();
        let environment: [(&str, &OsStr); 9] = [
            ("PGHOST", host.as_ref()),
            ("PGPORT", port.as_ref()),
            ("PGUSER", self.user.as_ref()),
            ("PGPASSWORD", self.password.as_ref()),
            ("PGDATABASE", self.database.as_ref()),
            ("PGSSLMODE", sslmode.as_ref()),
            ("PGSSLROOTCERT", self.authority.as_ref()),
            ("PGCONNECT_TIMEOUT", connect_timeout.as_ref()),
            // Nothing of the user who runs the test.
            ("HOME", Path::new("/nonexistent").as_ref()),
        ];
        let arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql];
        let answer = tool::answer(&self.psql, arguments, &environment).await?;
        Ok(answer.trim_end().to_owned())
    }
}
