use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use mcp_ultra_config::{SecretName, SecretValues, SecretsSection};
use mcp_ultra_domain::{
    Clock,
    ports::{SecretState, SecretStates},
};
use mcp_ultra_edge::outbound::OutboundConfigError;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use super::{Found, Source, SourceError, environment::Environment, folder::Folder, vault::Vault};

/// The sources can't be set up.
#[derive(Debug, thiserror::Error)]
#[error("the client towards secrets.vault can't be set up; check secrets.vault.ca_file")]
pub struct OpenError(#[from] OutboundConfigError);

/// A secret that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its name.
    pub name: SecretName,
    /// The source and what happened, without any value.
    pub why: String,
    /// Its last value is in use; without it there is none.
    pub has_value: bool,
}

/// What reading brought.
#[derive(Debug, Default)]
pub struct Refreshed {
    /// The secrets whose values are other ones than before.
    pub changed: Vec<SecretName>,
    /// Those that could not be read, where that is news.
    pub troubles: Vec<Trouble>,
    /// Those that can be read again.
    pub recovered: Vec<SecretName>,
}

/// A line of `mcp-ultra secrets status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its name.
    pub name: SecretName,
    /// Where it was found.
    pub source: Option<&'static str>,
    /// What its source calls this value.
    pub version: Option<String>,
    /// For how long it has had this value, where its source knows.
    pub age: Option<Duration>,
    /// When it is read again.
    pub refresh_in: Option<Duration>,
    /// Why it can't be read.
    pub trouble: Option<String>,
}

struct Known {
    value: SecretString,
    source: &'static str,
    version: Option<String>,
    changed: Option<Duration>,
    read_at: Duration,
}

#[derive(Default)]
struct Entry {
    known: Option<Known>,
    trouble: Option<String>,
}

/// The secrets that are needed, as they were read last. A source that fails, or a secret that is
/// gone, leaves the last value in place.
pub struct SecretStore {
    sources: Vec<Box<dyn Source>>,
    entries: Mutex<BTreeMap<SecretName, Entry>>,
    refresh: Duration,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretStore").finish_non_exhaustive()
    }
}

impl SecretStore {
    /// A store over the sources of `section`, in their order, and `environment`. Nothing is read
    /// yet.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn new(
        section: &SecretsSection,
        environment: &BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        if let Some(folder) = &section.folder {
            sources.push(Box::new(Folder(PathBuf::from(folder))));
        }
        sources.push(Box::new(Environment::new(environment)));
        if let Some(vault) = &section.vault {
            sources.push(Box::new(Vault::new(vault.clone(), clock.clone())?));
        }
        Ok(Self {
            sources,
            entries: Mutex::default(),
            refresh: section.refresh.get(),
            clock,
        })
    }

    /// Reads `names` from their sources and forgets all others.
    pub async fn refresh(&self, names: &BTreeSet<SecretName>) -> Refreshed {
        let reading = names
            .iter()
            .map(|name| async move { (name, self.read(name).await) });
        let read = futures_util::future::join_all(reading).await;
        let now = self.clock.now();
        let mut refreshed = Refreshed::default();
        let mut entries = self.entries.lock();
        entries.retain(|name, _| names.contains(name));
        for (name, read) in read {
            let entry = entries.entry(name.clone()).or_default();
            match read {
                Ok((source, found)) => {
                    if entry.trouble.take().is_some() && entry.known.is_some() {
                        refreshed.recovered.push(name.clone());
                    }
                    if entry.take(source, found, now) {
                        refreshed.changed.push(name.clone());
                    }
                }
                Err(why) => {
                    if entry.trouble.as_ref() != Some(&why) {
                        refreshed.troubles.push(Trouble {
                            name: name.clone(),
                            why: why.clone(),
                            has_value: entry.known.is_some(),
                        });
                        entry.trouble = Some(why);
                    }
                }
            }
        }
        refreshed
    }

    async fn read(&self, name: &SecretName) -> Result<(&'static str, Found), String> {
        for source in &self.sources {
            match source.read(name).await {
                Ok(Some(found)) => return Ok((source.name(), found)),
                Ok(None) => {}
                Err(error) => return Err(said(source.name(), &error)),
            }
        }
        let asked: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
        Err(format!("it is in none of: {}", asked.join(", ")))
    }

    /// The values that are in use.
    pub fn values(&self) -> SecretValues {
        let mut values = SecretValues::default();
        for (name, entry) in &*self.entries.lock() {
            match (&entry.known, &entry.trouble) {
                (Some(known), _) => values.insert(name.clone(), known.value.clone()),
                (None, Some(why)) => values.insert_missing(name.clone(), why.clone()),
                (None, None) => {}
            }
        }
        values
    }

    /// Everything that may be shown.
    pub fn rows(&self) -> Vec<SecretRow> {
        let now = self.clock.now();
        let entries = self.entries.lock();
        let row = |(name, entry): (&SecretName, &Entry)| {
            let known = entry.known.as_ref();
            let fixed = known.is_some_and(|known| known.source == "environment");
            let next = known.map_or(Duration::ZERO, |known| {
                (known.read_at + self.refresh).saturating_sub(now)
            });
            SecretRow {
                name: name.clone(),
                source: known.map(|known| known.source),
                version: known.and_then(|known| known.version.clone()),
                age: known
                    .and_then(|known| known.changed)
                    .map(|changed| now.saturating_sub(changed)),
                refresh_in: (!fixed).then_some(next),
                trouble: entry.trouble.clone(),
            }
        };
        entries.iter().map(row).collect()
    }
}

impl Entry {
    /// Takes a value over; whether it is another one.
    fn take(&mut self, source: &'static str, found: Found, now: Duration) -> bool {
        let changed = self
            .known
            .as_ref()
            .is_none_or(|known| known.value.expose_secret() != found.value.expose_secret());
        self.known = Some(Known {
            value: found.value,
            source,
            version: found.version,
            changed: found.changed,
            read_at: now,
        });
        changed
    }
}

impl SecretStates for SecretStore {
    fn states(&self) -> Vec<SecretState> {
        let now = self.clock.now();
        let entries = self.entries.lock();
        let state = |(name, entry): (&SecretName, &Entry)| {
            let known = entry.known.as_ref()?;
            Some(SecretState {
                name: name.to_string().into(),
                read_ago: now.saturating_sub(known.read_at),
                failing: entry.trouble.is_some(),
            })
        };
        entries.iter().filter_map(state).collect()
    }
}

fn said(source: &str, error: &SourceError) -> String {
    format!("{source}: {error}")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use mcp_ultra_domain::ManualClock;

    use super::*;

    fn store(folder: &std::path::Path, environment: &[(&str, &str)]) -> SecretStore {
        let section = SecretsSection {
            folder: Some(folder.display().to_string()),
            ..SecretsSection::default()
        };
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = environment.iter().map(owned).collect();
        SecretStore::new(&section, &environment, Arc::new(ManualClock::default())).unwrap()
    }

    fn names(names: &[&str]) -> BTreeSet<SecretName> {
        names
            .iter()
            .map(|name| SecretName::parse(name).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_swap_of_the_link_changes_all_secrets_of_a_mount() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, value) in [("..1", "one\n"), ("..2", "two\n")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("token"), value).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/token", at("token")).unwrap();
        let store = store(folder.path(), &[]);
        let wanted = names(&["token"]);
        assert_eq!(store.refresh(&wanted).await.changed.len(), 1);
        assert!(store.refresh(&wanted).await.changed.is_empty());
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!(store.refresh(&wanted).await.changed.len(), 1);
        assert_eq!(store.rows()[0].source, Some("folder"));
    }

    #[tokio::test]
    async fn what_is_gone_keeps_its_last_value_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "hunter2").unwrap();
        let store = store(folder.path(), &[("MCP_ULTRA_SECRET_B_KEY", "hunter3")]);
        let wanted = names(&["a", "b#key", "c"]);
        let first = store.refresh(&wanted).await;
        assert_eq!((first.changed.len(), first.troubles.len()), (2, 1));
        assert!(!first.troubles[0].has_value);
        fs::remove_file(folder.path().join("a")).unwrap();
        let gone = store.refresh(&wanted).await;
        assert!(
            gone.changed.is_empty() && gone.troubles[0].has_value,
            "{gone:?}"
        );
        assert!(store.refresh(&wanted).await.troubles.is_empty());
        let states = store.states();
        let failing: Vec<_> = states.iter().map(|s| (&*s.name, s.failing)).collect();
        assert_eq!(failing, [("a", true), ("b#key", false)]);
        fs::write(folder.path().join("a"), "hunter4").unwrap();
        let back = store.refresh(&wanted).await;
        assert_eq!((back.changed.len(), back.recovered.len()), (1, 1));
        let shown = format!("{back:?} {gone:?} {store:?} {:?} {states:?}", store.rows());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
