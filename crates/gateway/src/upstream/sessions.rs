//! The sessions that are open with an upstream: opened on whose behalf, started again when, ended
//! for what reason.

use std::{sync::Arc, time::Duration};

use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::Era;
use tokio::time::Instant;

use super::{
    Behalf, Ending, Hello, Holder, OnBehalf, Session, Sink, Transport, Upstream, UpstreamError,
    stdio::{StdioSession, StdioSpec, session::Opening, supervise::Backoff},
};

/// When a child process that keeps ending may be started again.
pub(super) struct Restart {
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Restart {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            not_before: None,
        }
    }

    /// A child process has ended, or did not come up.
    fn count_end(&mut self) {
        let now = std::time::Instant::now();
        let delay = self.backoff.next_delay(now, crate::random::number);
        self.not_before = Some(Instant::now() + delay);
    }
}

impl Upstream {
    /// The gateway's own behalf, for the catalog.
    pub fn own_behalf(&self) -> Behalf {
        let sink = self.own_sink.get().cloned();
        Behalf {
            holder: Holder::Catalog,
            subject: Subject::Gateway,
            hello: self.settings.hello.clone(),
            sink: sink.unwrap_or_else(|| Arc::new(|_| {})),
        }
    }

    /// From here on `sink` gets the notifications of the gateway's own sessions that belong to no
    /// call, whatever these are opened for. The first one stays.
    pub fn hear(&self, sink: Sink) {
        self.own_sink.get_or_init(|| sink);
    }

    /// The open session on `behalf` of the caller, or a new one; in any era where none is given.
    ///
    /// # Errors
    /// [`UpstreamError`] where it can't be opened.
    pub async fn session(
        &self,
        era: Option<Era>,
        behalf: &dyn OnBehalf,
    ) -> Result<Session, UpstreamError> {
        let holder = self.holder_in_force(behalf.holder());
        let session = self
            .pool
            .get_or_open(&holder, era, |ended| self.open(era, behalf, ended))
            .await?;
        if era.is_some_and(|era| era != session.era()) {
            // The program behind the name is another one than before.
            self.forget_eras();
            self.close(&holder).await;
            return Err(UpstreamError::Protocol(
                "it no longer speaks the revision that it did".into(),
            ));
        }
        if let Session::Http(session) = &session
            && session.needs_tokens()
        {
            session.speak_for(self.subject_in_force(behalf));
        }
        Ok(session)
    }

    /// Whose tokens a session is spoken to with.
    pub(super) fn subject_in_force(&self, behalf: &dyn OnBehalf) -> Subject {
        // One that all callers share is nobody's.
        if self.settings.shared {
            Subject::Gateway
        } else {
            behalf.lasting_subject()
        }
    }

    /// `ended` is the session before, where that has ended by itself.
    async fn open(
        &self,
        era: Option<Era>,
        behalf: &dyn OnBehalf,
        ended: Option<Session>,
    ) -> Result<Session, UpstreamError> {
        match &self.transport {
            Transport::Http(transport) => {
                if let Some(ended) = ended {
                    self.lost(&ended).await;
                }
                let opened = self.open_http(transport, behalf).await;
                opened.map(Session::Http)
            }
            Transport::Stdio(spec) => {
                if ended.is_some() {
                    self.restart.lock().count_end();
                }
                let (hello, sink) = (behalf.hello(), behalf.sink());
                let started = self.start(spec, era, &hello, sink).await;
                if started.is_ok() && self.settings.shared {
                    self.shared_opened.notify_waiters();
                }
                started
            }
        }
    }

    /// Completes when a process that all callers share was started, for whatever reason.
    pub async fn shared_process_started(&self) {
        self.shared_opened.notified().await;
    }

    /// Starts a child process, not sooner than its failures allow.
    async fn start(
        &self,
        spec: &StdioSpec,
        era: Option<Era>,
        hello: &Hello,
        sink: Sink,
    ) -> Result<Session, UpstreamError> {
        let not_before = self.restart.lock().not_before;
        if let Some(not_before) = not_before {
            let wait = not_before.saturating_duration_since(Instant::now());
            // A caller does not wait for long: the next one may try.
            if wait > Duration::from_secs(1) {
                return Err(UpstreamError::Unreachable(format!(
                    "the program keeps ending; it is started again in {} s",
                    wait.as_secs()
                )));
            }
            tokio::time::sleep(wait).await;
        }
        let opening = era.map_or(Opening::Probe, Opening::As);
        let start_time = self.settings.start_timeout;
        let opened = StdioSession::open(spec, opening, hello, sink, start_time).await;
        let mut restart = self.restart.lock();
        match opened {
            Ok((session, eras)) => {
                restart.backoff.started(std::time::Instant::now());
                restart.not_before = None;
                if opening == Opening::Probe {
                    *self.eras.lock() = Some((eras, Instant::now()));
                }
                Ok(Session::Stdio(session))
            }
            Err(error) => {
                restart.count_end();
                Err(error)
            }
        }
    }

    /// The open session of `holder`, where there is one.
    pub fn open_session(&self, holder: &Holder) -> Option<Session> {
        self.pool.get(&self.holder_in_force(holder.clone()))
    }

    pub(super) fn holder_in_force(&self, holder: Holder) -> Holder {
        if self.settings.shared {
            Holder::Shared
        } else {
            holder
        }
    }

    /// Ends the sessions of `holder`.
    pub async fn close(&self, holder: &Holder) {
        for session in self.take(holder) {
            session.close(Ending::Over).await;
        }
    }

    /// Ends the sessions that are spoken to with the tokens of a principal.
    pub(crate) async fn close_of(&self, principal: &str) {
        let sessions = self.pool.take_of(principal);
        let closing = sessions.iter().map(|session| session.close(Ending::Over));
        futures_util::future::join_all(closing).await;
    }

    /// With whose tokens sessions are spoken to.
    pub(crate) fn principals(&self) -> Vec<Arc<str>> {
        self.pool.principals()
    }

    /// Takes the sessions of `holder` out, for the caller to end.
    pub fn take(&self, holder: &Holder) -> Vec<Session> {
        self.pool.take(holder)
    }

    /// Ends sessions that have been idle for longer than the settings allow. Returns how many.
    pub async fn close_idle(&self) -> usize {
        self.close_idle_for(self.settings.idle_stop, |holder, session| {
            // These tell of changed lists, and cost no process.
            matches!(holder, Holder::Catalog | Holder::Shared)
                && matches!(session, Session::Http(_))
        })
        .await
    }

    /// Ends all sessions that no call needs. Returns how many are left.
    pub async fn close_unused(&self) -> usize {
        self.close_idle_for(Duration::ZERO, |_, _| false).await;
        self.sessions()
    }

    async fn close_idle_for(
        &self,
        limit: Duration,
        stays: impl Fn(&Holder, &Session) -> bool,
    ) -> usize {
        let idle = self.pool.take_idle(limit, stays);
        let closing = idle.iter().map(|session| session.close(Ending::Unneeded));
        futures_util::future::join_all(closing).await;
        idle.len()
    }

    /// Ends all sessions.
    pub async fn close_all(&self, ending: Ending) {
        let all = self.pool.take_all();
        let closing = all.iter().map(|session| session.close(ending));
        futures_util::future::join_all(closing).await;
    }

    /// Forgets access tokens that have ended.
    pub fn forget_ended_tokens(&self) {
        if let Transport::Http(transport) = &self.transport {
            transport.forget_ended_tokens();
        }
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.pool.len()
    }
}
