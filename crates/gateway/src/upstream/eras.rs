//! Which eras an upstream speaks: found once, kept, found again when it fails.

use std::{sync::Arc, time::Duration};

use mcp_ultra_protocol::{Era, Version};
use tokio::time::Instant;

use super::{
    Transport, Upstream, UpstreamError, probe,
    stdio::{StdioSession, StdioSpec, session::Opening},
};

/// For how long what was found out about eras is not doubted.
const FRESH: Duration = Duration::from_secs(1);
/// How long a program that speaks 2026-07-28 has to answer `initialize`, where that is asked.
const LEGACY_PROBE_TIME: Duration = Duration::from_secs(5);

/// The eras that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eras {
    /// Speaks 2026-07-28.
    pub modern: bool,
    /// Speaks a legacy revision; `None` where only trying shows it: a server need not name the
    /// revisions that are reached by `initialize` where it names modern ones.
    pub legacy: Option<bool>,
}

impl Eras {
    /// A server that has agreed on `version` by `initialize`.
    pub fn legacy(_version: Version) -> Self {
        Self {
            modern: false,
            legacy: Some(true),
        }
    }

    /// Only `era`.
    pub fn only(era: Era) -> Self {
        Self {
            modern: era == Era::Modern,
            legacy: Some(era == Era::Legacy),
        }
    }

    /// The era to speak to the upstream in for a caller of era `caller`: the same where the
    /// upstream has it, the other one otherwise.
    pub fn for_caller(self, caller: Era) -> Era {
        match caller {
            Era::Modern if self.modern => Era::Modern,
            Era::Legacy if self.legacy == Some(true) => Era::Legacy,
            Era::Modern => Era::Legacy,
            Era::Legacy => Era::Modern,
        }
    }
}

impl Upstream {
    /// The era to speak to it in for a caller of era `caller`, where that has been found out.
    pub fn known_era_for(&self, caller: Era) -> Option<Era> {
        let (eras, _) = (*self.eras.lock())?;
        let untried = caller == Era::Legacy && eras.legacy.is_none();
        (!untried).then(|| eras.for_caller(caller))
    }

    /// The era to speak to it in for a caller of era `caller`.
    ///
    /// # Errors
    /// [`UpstreamError`] where that is not known and can't be found out.
    pub async fn era_for(&self, caller: Era) -> Result<Era, UpstreamError> {
        if let Some(era) = self.known_era_for(caller) {
            return Ok(era);
        }
        let asked = Instant::now();
        let mut failed = self.detecting.lock().await;
        if let Some(era) = self.known_era_for(caller) {
            return Ok(era);
        }
        if let Some((at, error)) = &*failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        let eras = match self.find_eras(caller).await {
            Ok(eras) => eras,
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        *self.eras.lock() = Some((eras, Instant::now()));
        tracing::info!(upstream = %self.name(), modern = eras.modern, legacy = ?eras.legacy, "eras of the upstream are known");
        Ok(eras.for_caller(caller))
    }

    /// Finds out what a caller of era `caller` needs to know.
    async fn find_eras(&self, caller: Era) -> Result<Eras, UpstreamError> {
        let known = self.eras.lock().map(|(eras, _)| eras);
        let mut eras = match (known, &self.transport) {
            (Some(eras), _) => eras,
            (None, Transport::Http(transport)) => {
                probe::detect(transport, &self.settings.hello).await?
            }
            (None, Transport::Stdio(_)) => {
                // Only a running server can be asked; the catalogue's process does for that.
                self.session(None, &self.own_behalf()).await?;
                let found = self.eras.lock().map(|(eras, _)| eras);
                found.unwrap_or(Eras::only(Era::Legacy))
            }
        };
        if caller == Era::Legacy && eras.legacy.is_none() {
            eras.legacy = Some(match &self.transport {
                Transport::Http(transport) => {
                    probe::has_legacy(transport, &self.settings.hello).await?
                }
                Transport::Stdio(spec) => self.process_has_legacy(spec).await,
            });
        }
        Ok(eras)
    }

    /// Whether the server answers `initialize`: asked of a process of its own, since one that has
    /// been spoken to in one era is not spoken to in another.
    async fn process_has_legacy(&self, spec: &StdioSpec) -> bool {
        let (hello, time) = (&self.settings.hello, self.settings.start_timeout);
        // It has come up before, and a server that passes over what it does not know is no reason
        // to let a caller wait: without an answer it is spoken to in the era that it has.
        let time = time.min(LEGACY_PROBE_TIME);
        let opening = Opening::As(Era::Legacy);
        match StdioSession::open(spec, opening, hello, Arc::new(|_| {}), time).await {
            Ok((session, _)) => {
                tokio::spawn(async move { session.close().await });
                true
            }
            Err(_) => false,
        }
    }

    /// Forgets what was found out about the eras, since the upstream no longer acts by it.
    /// `false` where the operator has fixed the era.
    pub fn forget_eras(&self) -> bool {
        if self.settings.fixed_era.is_some() {
            return false;
        }
        *self.eras.lock() = None;
        true
    }

    /// As [`Upstream::forget_eras`], because of a call that failed as if the eras were wrong.
    /// What was found out just now stays: many calls may fail of the same change.
    pub fn doubt_eras(&self) -> bool {
        let found = self.eras.lock().map(|(_, found)| found);
        if found.is_some_and(|found| found.elapsed() < FRESH) {
            return self.settings.fixed_era.is_none();
        }
        self.forget_eras()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gets_its_own_era_where_it_can() {
        let both = Eras {
            modern: true,
            legacy: Some(true),
        };
        assert_eq!(both.for_caller(Era::Legacy), Era::Legacy);
        assert_eq!(Eras::only(Era::Modern).for_caller(Era::Legacy), Era::Modern);
        assert_eq!(Eras::only(Era::Legacy).for_caller(Era::Modern), Era::Legacy);
    }
}
