use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::pinning::{Fingerprint, LONGEST_NAME, MOST_PINS, Pin, PinChange, PinHead, Sighting};

/// Why a store of pins did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinStoreError {
    /// Nothing is known of such a tool of such a server.
    #[error("no tool of that name has been seen")]
    NotFound,
    /// What waits is not the definition that was meant, nothing waits, or the tool is not as it was.
    #[error("the tool is not as it was when it was read; read it again")]
    Changed,
    /// The store can't be reached, or its data can't be read.
    #[error("the store of pins failed: {0}")]
    Failed(String),
}

/// Where is kept which definitions of tools somebody has agreed to, and which ones wait for it.
/// What was approved is durable when the call returns.
///
/// Several gateways may share one: of two that see a tool for the first time, the first decides,
/// and an approval names the definition that it is for.
#[async_trait]
pub trait PinStore: Send + Sync {
    /// What is known of the tools of a server, in the order of their names.
    async fn of_server(&self, server: &str) -> Result<Vec<PinHead>, PinStoreError>;

    /// Notes what was seen of a server at `now`, by [`PinChange::of`], and that it offers the tools
    /// `gone` no more. Tools beyond [`MOST_PINS`] are not noted: what was known of others must not
    /// be pushed out by them. Nor are those of which the name is longer than [`LONGEST_NAME`].
    async fn saw(
        &self,
        server: &str,
        seen: &[Sighting],
        gone: &[String],
        now: Duration,
    ) -> Result<(), PinStoreError>;

    /// What is known of a tool.
    async fn get(&self, server: &str, tool: &str) -> Result<Option<Pin>, PinStoreError>;

    /// At most `limit` tools in the order of server and name, from the one after `after`; where
    /// `waiting`, those only that wait for approval.
    async fn list(
        &self,
        after: Option<(&str, &str)>,
        waiting: bool,
        limit: u32,
    ) -> Result<Vec<Pin>, PinStoreError>;

    /// Approves the definition that waits, if it is the one with this fingerprint. One that is
    /// approved already stays so. Returns the pin as it is then.
    async fn approve(
        &self,
        server: &str,
        tool: &str,
        meant: Fingerprint,
        by: &str,
        now: Duration,
    ) -> Result<Pin, PinStoreError>;

    /// Forgets a tool that its server offers no more and that is as in `meant`: where it comes back it
    /// is seen for the first time.
    async fn forget(&self, server: &str, meant: &PinHead) -> Result<(), PinStoreError>;

    /// Forgets the tools that have been gone since before `before` and of which nothing waits for
    /// approval. Returns how many.
    async fn forget_gone(&self, before: Duration) -> Result<u64, PinStoreError>;

    /// Notes that servers other than these offer no tool any more, since nobody reads them.
    async fn only(&self, servers: &[&str], now: Duration) -> Result<(), PinStoreError>;

    /// A number that is another one after each approval.
    async fn approvals(&self) -> Result<u64, PinStoreError>;
}

/// The store of a single process, which forgets everything when it ends.
#[derive(Debug, Default)]
pub struct MemoryPinStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pins: BTreeMap<(String, String), Pin>,
    approvals: u64,
}

#[async_trait]
impl PinStore for MemoryPinStore {
    async fn of_server(&self, server: &str) -> Result<Vec<PinHead>, PinStoreError> {
        let kept = self.kept.lock();
        Ok(kept.of_server(server).map(Pin::head).collect())
    }

    async fn saw(
        &self,
        server: &str,
        seen: &[Sighting],
        gone: &[String],
        now: Duration,
    ) -> Result<(), PinStoreError> {
        let mut kept = self.kept.lock();
        let mut known = kept.of_server(server).count();
        for sighting in seen {
            let key = (server.to_owned(), sighting.tool.clone());
            let pin = kept.pins.get_mut(&key);
            let change = PinChange::of(pin.as_deref().map(Pin::head).as_ref(), sighting);
            if pin.is_none() && (known >= MOST_PINS || sighting.tool.len() > LONGEST_NAME) {
                continue;
            }
            known += usize::from(pin.is_none());
            let pin = kept.pins.entry(key).or_insert_with(|| Pin {
                server: server.to_owned(),
                tool: sighting.tool.clone(),
                approved: None,
                approved_by: None,
                waiting: None,
                findings: Vec::new(),
                gone: None,
            });
            let definition = sighting.definition.clone().at(now);
            pin.gone = None;
            match change {
                PinChange::Approve => {
                    pin.approved = Some(definition);
                    pin.approved_by = None;
                    pin.waiting = None;
                }
                PinChange::Return => pin.waiting = None,
                PinChange::Wait(standing) => pin.waiting = Some((definition, standing)),
                PinChange::Nothing => continue,
            }
            pin.findings.clone_from(&sighting.findings);
        }
        for tool in gone {
            if let Some(pin) = kept.pins.get_mut(&(server.to_owned(), tool.clone())) {
                pin.gone.get_or_insert(now);
            }
        }
        Ok(())
    }

    async fn get(&self, server: &str, tool: &str) -> Result<Option<Pin>, PinStoreError> {
        let key = (server.to_owned(), tool.to_owned());
        Ok(self.kept.lock().pins.get(&key).cloned())
    }

    async fn list(
        &self,
        after: Option<(&str, &str)>,
        waiting: bool,
        limit: u32,
    ) -> Result<Vec<Pin>, PinStoreError> {
        let kept = self.kept.lock();
        let later = kept.pins.values().filter(|pin| {
            after.is_none_or(|after| (&*pin.server, &*pin.tool) > after)
                && (!waiting || pin.waiting.is_some())
        });
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(later.take(limit).cloned().collect())
    }

    async fn approve(
        &self,
        server: &str,
        tool: &str,
        meant: Fingerprint,
        by: &str,
        now: Duration,
    ) -> Result<Pin, PinStoreError> {
        let mut kept = self.kept.lock();
        let key = (server.to_owned(), tool.to_owned());
        let pin = kept.pins.get_mut(&key).ok_or(PinStoreError::NotFound)?;
        if pin.head().approved == Some(meant) {
            return Ok(pin.clone());
        }
        let waits = pin.waiting.take_if(|(one, _)| one.fingerprint == meant);
        let (definition, _) = waits.ok_or(PinStoreError::Changed)?;
        pin.approved = Some(definition.at(now));
        pin.approved_by = Some(by.to_owned());
        let pin = pin.clone();
        kept.approvals += 1;
        Ok(pin)
    }

    async fn forget(&self, server: &str, meant: &PinHead) -> Result<(), PinStoreError> {
        let mut kept = self.kept.lock();
        let key = (server.to_owned(), meant.tool.clone());
        let pin = kept.pins.get(&key).ok_or(PinStoreError::NotFound)?;
        if pin.is_offered() || pin.head() != *meant {
            return Err(PinStoreError::Changed);
        }
        kept.pins.remove(&key);
        Ok(())
    }

    async fn forget_gone(&self, before: Duration) -> Result<u64, PinStoreError> {
        let is_over =
            |pin: &Pin| pin.waiting.is_none() && pin.gone.is_some_and(|gone| gone < before);
        let over = self
            .kept
            .lock()
            .pins
            .extract_if(.., |_, pin| is_over(pin))
            .count();
        Ok(over as u64)
    }

    async fn only(&self, servers: &[&str], now: Duration) -> Result<(), PinStoreError> {
        for ((server, _), pin) in &mut self.kept.lock().pins {
            if !servers.contains(&&**server) {
                pin.gone.get_or_insert(now);
            }
        }
        Ok(())
    }

    async fn approvals(&self) -> Result<u64, PinStoreError> {
        Ok(self.kept.lock().approvals)
    }
}

impl Kept {
    fn of_server<'k>(&'k self, server: &str) -> impl Iterator<Item = &'k Pin> + use<'k> {
        let server = server.to_owned();
        let from = (server.clone(), String::new());
        let pins = self.pins.range(from..);
        pins.take_while(move |((of, _), _)| *of == server)
            .map(|(_, pin)| pin)
    }
}
