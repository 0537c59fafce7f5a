//! From the section `pinning` to what tools are compared with.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{Config, PinningMode, PinningSection};
use mcp_ultra_domain::{
    SystemClock,
    catalog::State,
    pinning::{LockFile, Pin},
    ports::{
        MemoryAnnouncements, MemoryLimitStore, MemoryPinStore, MemorySessionStore, NoSecrets,
        PinStore, PinStoreError,
    },
};
use mcp_ultra_edge::outbound::{Outbound, OutboundConfigError};
use mcp_ultra_gateway::{Gateway, GatewayError, Parts};

/// The largest lock file, in bytes: some 40,000 tools.
const LARGEST: u64 = 8 << 20;

/// Between two looks at whether all servers have answered.
const POLL: Duration = Duration::from_millis(20);

/// Why a lock file can't be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the lock file {} can't be used: {why}", path.display())]
#[diagnostic(help("`mcp-ultra tools lock` writes one"))]
pub(crate) struct LockError {
    path: PathBuf,
    why: String,
}

/// The lock file of a configuration; `None` where it names none.
pub(crate) fn lock_file(section: &PinningSection) -> Result<Option<Arc<LockFile>>, LockError> {
    let Some(path) = &section.lock_file else {
        return Ok(None);
    };
    read(Path::new(path)).map(|file| Some(Arc::new(file)))
}

/// Reads a lock file.
pub(crate) fn read(path: &Path) -> Result<LockFile, LockError> {
    let fail = |why: String| LockError {
        path: path.to_owned(),
        why,
    };
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    match read {
        Err(error) => return Err(fail(error.to_string())),
        Ok(length) if length as u64 > LARGEST => {
            return Err(fail("it is larger than 8 MiB".to_owned()));
        }
        Ok(_) => {}
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 8,
            max_documents: 1,
            max_events: 1_000_000,
            max_nodes: 500_000,
            max_aliases: 0,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| fail(error.to_string()))
}

/// Where is kept what was agreed to.
pub(crate) fn store(storage: Option<&Database>) -> Arc<dyn PinStore> {
    match storage {
        Some(storage) => Arc::new(storage.clone()),
        None => Arc::new(MemoryPinStore::default()),
    }
}

/// Why it is not known what the servers of a configuration offer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum ReadError {
    /// The client towards servers can't be set up.
    #[error("the HTTP client for servers can't be set up")]
    #[diagnostic(help("check outbound.ca_file and outbound.allow_addresses"))]
    Outbound(#[from] OutboundConfigError),
    /// A server section can't be used.
    #[error("the configuration can't be used: {0}")]
    Gateway(#[from] GatewayError),
    /// Servers did not answer.
    #[error("not all servers could be read: {0}")]
    #[diagnostic(help(
        "nothing was written; start them, or switch them off with `enabled: false`"
    ))]
    Servers(String),
    /// What they offer could not be noted.
    #[error(transparent)]
    Store(#[from] PinStoreError),
}

/// What the servers of a configuration offer, each tool once: a gateway that nobody can call reads
/// them, as the one that runs would.
pub(crate) async fn read_servers(config: Config, limit: Duration) -> Result<Vec<Pin>, ReadError> {
    let mut config = config;
    config.pinning = PinningSection::default();
    for server in &mut config.servers {
        server.pinning = Some(PinningMode::Warn);
    }
    let pins = Arc::new(MemoryPinStore::default());
    let outbound = super::outbound_config(&config, 1);
    let gateway = Gateway::new(Parts {
        outbound: Outbound::new(&outbound)?,
        config,
        identity: None,
        connect: None,
        policies: None,
        flags: None,
        lock: None,
        pins: pins.clone(),
        store: Arc::new(MemorySessionStore::default()),
        limits: Arc::new(MemoryLimitStore::new(1)),
        cache: None,
        upstream_sessions: None,
        clock: Arc::new(SystemClock),
        secrets: Arc::new(NoSecrets),
        announcements: Arc::new(MemoryAnnouncements::default().replica()),
        breakers: None,
        rendezvous: None,
        dependencies: Vec::new(),
        listener: Arc::default(),
    })?;
    gateway.start();
    let read = tokio::time::timeout(limit, async {
        loop {
            let states = gateway.upstream_states();
            if states.iter().all(|(_, state)| *state != State::Pending) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    let in_time = read.await.is_ok();
    let states = gateway.upstream_states();
    gateway.stop().await;
    let failed: Vec<String> = states
        .into_iter()
        .filter_map(|(name, state)| match state {
            State::Ready => None,
            State::Pending => Some(format!("{name}: it did not answer in time")),
            State::Unavailable { reason, .. } => Some(format!("{name}: {reason}")),
        })
        .collect();
    if !failed.is_empty() || !in_time {
        return Err(ReadError::Servers(failed.join("; ")));
    }
    Ok(pins.list(None, false, u32::MAX).await?)
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::pinning::fingerprint;

    use super::*;

    fn read_text(text: &str) -> Result<LockFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tools.lock");
        fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_lock_file_is_read_as_it_is_written() {
        let mut file = LockFile::default();
        assert_eq!(read_text(&file.text()), Ok(file.clone()));
        file.servers.entry("empty".into()).or_default();
        let tools = file.servers.entry("crm".into()).or_default();
        for name in [
            "find",
            "yes",
            "1.0",
            "a: b",
            "\"quoted\" \\ 'it'",
            "# no comment",
            "ação\u{202E}\u{0}\u{7F}\u{85}\u{2028}\n😀",
            "",
        ] {
            tools.insert(name.into(), fingerprint(name));
        }
        assert_eq!(read_text(&file.text()), Ok(file));
    }

    #[test]
    fn faults_are_named_with_their_place() {
        let pin = fingerprint("1");
        for (text, expected) in [
            (
                "servers:\n  crm:\n    find: sha256:12\n".to_owned(),
                "line 3",
            ),
            (
                format!("servers: {{ crm: {{ a: {pin}, a: {pin} }} }}\n"),
                "duplicate",
            ),
            ("server: {}\n".to_owned(), "unknown field"),
            (String::new(), "can't be used"),
        ] {
            let error = read_text(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = read(Path::new("/nowhere/tools.lock")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/tools.lock"));
    }
}
