//! The registry: servers, policies and feature flags are shown, put and taken away.
//!
//! The way in is [`Registry`]; [`EntryView`] is how an entry is shown. What the gateway makes of entries
//! it asks [`Running`]: every change is checked together with all that there is before it is kept, and
//! kept only if nobody has changed anything since.

mod view;

use std::sync::Arc;

use async_trait::async_trait;
use mcp_ultra_domain::{
    Clock,
    policy::Policies,
    ports::{RegistryStore, RegistryStoreError},
    registry::{self, Change, Entry, Kind, LONGEST_NAME, LONGEST_TEXT, MOST_ENTRIES},
};

pub use view::{EntryView, PastView};

/// How often a change is checked again, where others were made meanwhile.
const TRIES: usize = 5;
/// The most bytes of all texts together: every gateway has them in memory.
const LARGEST: usize = 16 * 1024 * 1024;
/// The most changes of an entry that are shown.
const SHOWN: u32 = 100;

/// What the gateway makes of the registry.
#[async_trait]
pub trait Running: Send + Sync {
    /// What the configuration's files define of this kind, which the registry can't change.
    fn of_file(&self, kind: Kind) -> Vec<FileEntry>;

    /// Whether the gateway could run with this registry, beside its files; the policies that would be in
    /// force then, where there are any.
    ///
    /// # Errors
    /// Everything that is wrong.
    async fn check(
        &self,
        candidate: registry::Registry,
    ) -> Result<Option<Arc<Policies>>, Vec<Fault>>;

    /// The registry has this revision now: this gateway takes it over, which is waited for a while,
    /// and others are told.
    async fn changed(&self, revision: u64);
}

/// Something that a file of the configuration defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Where, such as `gateway.yaml:12`.
    pub place: String,
}

/// What is wrong with a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: an entry, as [`registry::place`] names it, or a file.
    pub place: String,
    /// The line, from 1; 0 where it is about the whole.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What, and what to do about it.
    pub message: String,
}

/// Why the registry can't be shown or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is none.
    #[error(
        "this gateway has no registry: set registry.enabled in its configuration, and a storage"
    )]
    Off,
    /// The file has it.
    #[error("{0} defines it, and wins: change it there")]
    InFile(String),
    /// There is no such entry.
    #[error("nothing of that name is in the registry")]
    NotFound,
    /// It can't be called so.
    #[error("{0}")]
    Name(&'static str),
    /// Whoever wants it could not take it back.
    #[error(
        "you could not change this back: by the policies that would be in force you may not do this any more"
    )]
    ShutsOut,
    /// There is no room for it.
    #[error("{0}")]
    TooMuch(String),
    /// The gateway could not run with it.
    #[error("{0}")]
    Refused(String),
    /// Others change the registry all the time.
    #[error("the registry is being changed by others; try again")]
    Busy,
    /// The store can't be reached.
    #[error("{0}")]
    Store(String),
}

impl From<RegistryStoreError> for RegistryError {
    fn from(error: RegistryStoreError) -> Self {
        match error {
            RegistryStoreError::Changed => Self::Busy,
            RegistryStoreError::Failed(why) => Self::Store(why),
        }
    }
}

/// Where it is kept, and what a gateway makes of it.
type Parts = (Arc<dyn RegistryStore>, Arc<dyn Running>);

/// Shows and changes the registry.
#[derive(Clone)]
pub struct Registry {
    parts: Option<Parts>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// What is wanted of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'w str,
    /// Its text; `None` where it is to go.
    pub text: Option<&'w str>,
    /// Who wants it.
    pub by: &'w str,
    /// Only to see what would come of it.
    pub dry_run: bool,
}

/// What whoever wants a change is asked.
pub trait Meant<E> {
    /// Whether the change is meant for what is there.
    ///
    /// # Errors
    /// What the change is refused with.
    fn check(&self, there: Option<&Entry>) -> Result<(), E>;

    /// Whether they might change it back under these policies.
    fn may_still(&self, policies: &Policies) -> bool;
}

impl Registry {
    /// A registry in a store, as a gateway makes something of it; none at all without.
    pub fn new(
        parts: Option<(Arc<dyn RegistryStore>, Arc<dyn Running>)>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { parts, clock }
    }

    fn parts(&self) -> Result<&Parts, RegistryError> {
        self.parts.as_ref().ok_or(RegistryError::Off)
    }

    /// All of one kind by their names, those of the file among them, without their texts.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub async fn list(&self, kind: Kind) -> Result<Vec<EntryView>, RegistryError> {
        let (store, running) = self.parts()?;
        let registry = store.read().await?;
        let of_file = running.of_file(kind);
        let mut views: Vec<EntryView> = registry
            .of(kind)
            .map(|entry| EntryView::of(entry, in_file(&of_file, &entry.name)).without_text())
            .collect();
        let alone = of_file
            .iter()
            .filter(|file| registry.get(kind, &file.name).is_none());
        views.extend(alone.map(EntryView::of_file));
        views.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(views)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub async fn get(&self, kind: Kind, name: &str) -> Result<EntryView, RegistryError> {
        let (store, running) = self.parts()?;
        let registry = store.read().await?;
        let of_file = running.of_file(kind);
        let file = in_file(&of_file, name);
        match (registry.get(kind, name), file) {
            (Some(entry), file) => Ok(EntryView::of(entry, file)),
            (None, Some(file)) => Ok(EntryView::of_file(file)),
            (None, None) => Err(RegistryError::NotFound),
        }
    }

    /// The changes of an entry, the last one first.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub async fn history(&self, kind: Kind, name: &str) -> Result<Vec<PastView>, RegistryError> {
        let (store, _) = self.parts()?;
        let past = store.history(kind, name, None, SHOWN).await?;
        if past.is_empty() && store.read().await?.get(kind, name).is_none() {
            return Err(RegistryError::NotFound);
        }
        Ok(past.iter().map(PastView::of).collect())
    }

    /// Makes a change if it is `meant` for what is there, which is asked again where that has changed
    /// meanwhile. Answers with the entry as it is then, or was where it goes. What is there already
    /// is not changed.
    ///
    /// # Errors
    /// What `meant` says, or [`RegistryError`]; nothing has changed then.
    pub async fn change<E: From<RegistryError>>(
        &self,
        wanted: Wanted<'_>,
        meant: &impl Meant<E>,
    ) -> Result<EntryView, E> {
        let (store, running) = self.parts()?;
        let Wanted { kind, name, .. } = wanted;
        for _ in 0..TRIES {
            let registry = store.read().await.map_err(RegistryError::from)?;
            let there = registry.get(kind, name);
            let of_file = running.of_file(kind);
            let file = in_file(&of_file, name);
            match (wanted.text, there, file) {
                (Some(_), _, Some(file)) | (None, None, Some(file)) => {
                    return Err(RegistryError::InFile(file.place.clone()).into());
                }
                (None, None, None) => return Err(RegistryError::NotFound.into()),
                // Sent again, or by somebody who wants the same.
                (Some(text), Some(there), _) if there.text == text => {
                    return Ok(EntryView::of(there, file));
                }
                _ => {}
            }
            meant.check(there)?;
            let change = self.prepare(&registry, wanted)?;
            let next = registry.with(&change);
            let after = next.get(kind, name).or(there);
            let view = after.map(|entry| EntryView::of(entry, file));
            let view = view.ok_or(RegistryError::NotFound)?;
            let checked = running.check(next).await;
            let policies = checked.map_err(|faults| refused(kind, name, &faults))?;
            if policies.is_some_and(|policies| !meant.may_still(&policies)) {
                return Err(RegistryError::ShutsOut.into());
            }
            if wanted.dry_run {
                return Ok(view);
            }
            match store.apply(registry.revision, &change).await {
                Ok(revision) => {
                    running.changed(revision).await;
                    return Ok(view);
                }
                Err(RegistryStoreError::Changed) => {}
                Err(error) => return Err(RegistryError::from(error).into()),
            }
        }
        Err(RegistryError::Busy.into())
    }

    /// The change, where its name and size are fine.
    fn prepare(
        &self,
        registry: &registry::Registry,
        wanted: Wanted<'_>,
    ) -> Result<Change, RegistryError> {
        check_name(wanted.kind, wanted.name)?;
        if let Some(text) = wanted.text {
            let is_new = registry.get(wanted.kind, wanted.name).is_none();
            let too_much = if text.len() > LONGEST_TEXT {
                Some(format!("a text may have {LONGEST_TEXT} bytes"))
            } else if is_new && registry.entries.len() >= MOST_ENTRIES {
                Some(format!("the registry may have {MOST_ENTRIES} entries"))
            } else if registry.size() + text.len() > LARGEST {
                Some(format!("all texts together may have {LARGEST} bytes"))
            } else {
                None
            };
            if let Some(why) = too_much {
                return Err(RegistryError::TooMuch(why));
            }
        }
        Ok(Change {
            kind: wanted.kind,
            name: wanted.name.to_owned(),
            text: wanted.text.map(str::to_owned),
            by: wanted.by.to_owned(),
            at: self.clock.now(),
        })
    }
}

fn in_file<'f>(of_file: &'f [FileEntry], name: &str) -> Option<&'f FileEntry> {
    of_file.iter().find(|file| file.name == name)
}

/// Names stand in paths, logs and messages.
fn check_name(kind: Kind, name: &str) -> Result<(), RegistryError> {
    let fine = |byte: u8| match kind {
        Kind::Server | Kind::Policy => byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
        Kind::Flag => byte.is_ascii_graphic(),
    };
    let hidden = name.starts_with('.');
    if name.is_empty() || name.len() > LONGEST_NAME || hidden || !name.bytes().all(fine) {
        return Err(RegistryError::Name(match kind {
            Kind::Flag => "the key of a flag has 1 to 128 visible ASCII characters",
            _ => {
                "a name has 1 to 128 of letters, digits, dash, dot and underscore, and begins with no dot"
            }
        }));
    }
    Ok(())
}

/// What is wrong in words: of the entry itself by line and column.
fn refused(kind: Kind, name: &str, faults: &[Fault]) -> RegistryError {
    let own = registry::place(kind, name);
    let said: Vec<String> = faults
        .iter()
        .map(|fault| {
            let Fault {
                place,
                line,
                column,
                message,
            } = fault;
            match (*place == own, *line) {
                (true, 0) => message.clone(),
                (true, line) => format!("line {line}, column {column}: {message}"),
                (false, 0) if place.is_empty() => message.clone(),
                (false, 0) => format!("{place}: {message}"),
                (false, line) => format!("{place}:{line}:{column}: {message}"),
            }
        })
        .collect();
    RegistryError::Refused(said.join("; "))
}

#[cfg(test)]
mod tests;
