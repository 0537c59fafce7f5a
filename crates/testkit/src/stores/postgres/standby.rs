//! A copy of a running PostgreSQL that follows it by streaming.

use std::{path::Path, process::Command, time::Duration};

use super::{Login, Options, Postgres, launch};
use crate::stores::{StoreError, folder::Folder, ports, tool};

/// How long the standby may take to follow.
const FOLLOWS: Duration = Duration::from_secs(20);
/// How long a promotion may take.
const PROMOTED: Duration = Duration::from_secs(20);

impl Postgres {
    /// A standby of this server, named `name` for `synchronous_standby_names`, with a replication slot of
    /// that name. It streams and answers reads when this returns.
    ///
    /// Whether the primary waits for it is the primary's: `alter system set synchronous_standby_names`.
    pub async fn standby(&self, name: &str, options: &Options) -> Result<Self, StoreError> {
        let folder = Folder::new("standby")?;
        let files = self.certificates.write(&folder)?;
        let data = folder.folder("data")?;
        let source = self.source(name, &files.authority);
        let mut copy = Command::new(self.installation.program("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--wal-method=stream"])
            .args(["--create-slot", "--slot", name])
            .args(["--checkpoint=fast", "--no-sync"])
            .arg("--pgdata")
            .arg(&data)
            .arg("--dbname")
            .arg(source);
        self.installation.run(copy, &folder).await?;
        let server = ports::on_a_free_port(async |address| {
            launch(&self.installation, &folder, &files, options, address).await
        })
        .await?;
        let admin = Login {
            authority: files.authority,
            ..self.admin.at(server.address())
        };
        let standby = Self {
            server,
            admin,
            installation: self.installation.clone(),
            certificates: self.certificates.clone(),
            folder,
        };
        standby.answers().await?;
        let follows = format!(
            "select 1 / count(*) from pg_stat_replication \
             where application_name = '{name}' and state = 'streaming'"
        );
        let asked = tool::until("a standby that streams", FOLLOWS, async || {
            self.admin.sql(&follows).await
        });
        asked.await?;
        Ok(standby)
    }

    /// Makes a standby a server of its own that takes writes; waits until it does.
    pub async fn promote(&self) -> Result<(), StoreError> {
        self.admin.sql("select pg_promote(true, 20)").await?;
        let writes = "select 1 / (not pg_is_in_recovery())::int";
        let asked = tool::until("the end of recovery", PROMOTED, async || {
            self.admin.sql(writes).await
        });
        asked.await.map(drop)
    }

    /// How a standby connects; `pg_basebackup` writes it into the standby's settings.
    fn source(&self, name: &str, authority: &Path) -> String {
        let admin = &self.admin;
        format!(
            "host={} port={} user={} password={} application_name={name} \
             sslmode=verify-full sslrootcert={}",
            admin.address.ip(),
            admin.address.port(),
            admin.user,
            admin.password,
            authority.display(),
        )
    }
}
