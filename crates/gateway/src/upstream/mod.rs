//! The MCP servers behind the gateway: how they are reached, which eras they speak, and the
//! sessions that are open with them.
//!
//! The way in is [`Upstream::call`]. It speaks to an upstream in the era that it is told, through
//! a session where that era or transport has sessions: one per downstream session, or per
//! principal and capability set for modern callers; never shared between principals, unless the
//! operator marked the upstream as `shared`.
//!
//! What does not live here: translation between eras ([`crate::era`]) and the catalog that is made
//! of what upstreams list ([`crate::catalog`]).

mod behalf;
mod calls;
mod eras;
mod error;
mod exchange;
pub mod http;
mod pool;
mod session;
mod settings;
pub mod stdio;

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_protocol::{Era, Id, Request, names::Naming};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub use behalf::{Behalf, OnBehalf};
pub use eras::Eras;
pub use error::UpstreamError;
use exchange::Source;
pub use exchange::{Event, Exchange};
use http::{HttpStream, HttpTransport, ModernHeaders, Reply};
pub use pool::Holder;
use pool::Pool;
pub use session::{Hello, Session, Sink, Welcome};
pub use settings::{Settings, SettingsError};
use stdio::{StdioSession, StdioSpec, session::Opening};

pub(crate) use http::error_code;

/// How many sessions one HTTP upstream may have with the gateway.
const MAX_HTTP_SESSIONS: usize = 16_384;
/// How many child processes one stdio upstream may have.
const MAX_PROCESSES: usize = 256;
/// For how long what was found out about eras is not doubted.
const FRESH: Duration = Duration::from_secs(1);
/// How long a program that speaks 2026-07-28 has to answer `initialize`, where that is asked.
const LEGACY_PROBE_TIME: Duration = Duration::from_secs(5);

/// One MCP server behind the gateway.
pub struct Upstream {
    settings: Settings,
    transport: Transport,
    /// What has been found out about its eras, and when.
    eras: Mutex<Option<(Eras, Instant)>>,
    /// Lets one task at a time find out. Keeps when that failed last: who has waited meanwhile
    /// fails with it.
    detecting: tokio::sync::Mutex<Option<(Instant, UpstreamError)>>,
    pool: Pool,
    /// Places for calls in flight (`limits.calls_per_server`).
    places: Arc<Semaphore>,
    next_id: std::sync::atomic::AtomicU64,
    /// When a child process that keeps ending may be started again.
    restart: Mutex<Restart>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("name", self.name())
            .finish_non_exhaustive()
    }
}

enum Transport {
    Http(Arc<HttpTransport>),
    Stdio(StdioSpec),
}

struct Restart {
    backoff: stdio::supervise::Backoff,
    not_before: Option<Instant>,
}

impl Restart {
    /// A child process has ended, or did not come up.
    fn count_end(&mut self) {
        let now = std::time::Instant::now();
        let delay = self.backoff.next_delay(now, crate::random::number);
        self.not_before = Some(Instant::now() + delay);
    }
}

/// A call on its way to an upstream, in the upstream's own names.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a str,
    /// The caller's own request, where this is one: its other members travel on.
    pub envelope: Option<&'a Request>,
    /// The text of `params` as the target era has them, without a progress token.
    pub params: Option<ByteString>,
    /// The text of the caller's progress token.
    pub progress_token: Option<ByteString>,
    /// What `Mcp-Name` mirrors.
    pub name: Option<&'a str>,
    /// `Mcp-Param-*` and trace headers, for modern HTTP.
    pub headers: Vec<(::http::HeaderName, ::http::HeaderValue)>,
}

impl Upstream {
    /// The upstream that `settings` describe. Nothing is connected or started yet.
    pub fn new(settings: Settings) -> Self {
        let transport = settings.transport();
        let eras = settings
            .fixed_era
            .map(|era| (Eras::only(era), Instant::now()));
        let backoff = stdio::supervise::Backoff::new(settings.restart);
        Self {
            eras: Mutex::new(eras),
            detecting: tokio::sync::Mutex::default(),
            pool: Pool::new(match transport {
                Transport::Http(_) => MAX_HTTP_SESSIONS,
                Transport::Stdio(_) => MAX_PROCESSES,
            }),
            places: Arc::new(Semaphore::new(
                settings.max_calls.min(Semaphore::MAX_PERMITS),
            )),
            next_id: std::sync::atomic::AtomicU64::new(0),
            restart: Mutex::new(Restart {
                backoff,
                not_before: None,
            }),
            transport,
            settings,
        }
    }

    /// A place for a call; `None` where as many are in flight as may be.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Whether no call is in flight.
    pub fn is_unused(&self) -> bool {
        self.places.available_permits() >= self.settings.max_calls.min(Semaphore::MAX_PERMITS)
    }

    /// The name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// How its names become public.
    pub fn naming(&self) -> &Naming {
        &self.settings.naming
    }

    /// What it was configured with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it is a child process.
    pub fn is_stdio(&self) -> bool {
        matches!(self.transport, Transport::Stdio(_))
    }

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
                eras::detect(transport, &self.settings.hello).await?
            }
            (None, Transport::Stdio(_)) => {
                // Only a running server can be asked; the catalogue's process does for that.
                self.session(None, &self.own_behalf(Arc::new(|_| {})))
                    .await?;
                let found = self.eras.lock().map(|(eras, _)| eras);
                found.unwrap_or(Eras::only(Era::Legacy))
            }
        };
        if caller == Era::Legacy && eras.legacy.is_none() {
            eras.legacy = Some(match &self.transport {
                Transport::Http(transport) => {
                    eras::has_legacy(transport, &self.settings.hello).await?
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

    /// The gateway's own behalf, for the catalog.
    pub fn own_behalf(&self, sink: Sink) -> Behalf {
        Behalf {
            holder: Holder::Catalog,
            hello: self.settings.hello.clone(),
            sink,
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

    /// Sends a call in `era`, in a session on `behalf` of the caller where it needs one.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn call(
        &self,
        era: Era,
        behalf: &dyn OnBehalf,
        call: Outgoing<'_>,
    ) -> Result<Exchange, UpstreamError> {
        if let (Era::Modern, Transport::Http(transport)) = (era, &self.transport) {
            return self.call_stateless(transport, call).await;
        }
        // Boxed: a stateless call need not carry the room for it.
        Box::pin(self.call_in_session(era, behalf, call)).await
    }

    async fn call_in_session(
        &self,
        era: Era,
        behalf: &dyn OnBehalf,
        call: Outgoing<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let session = self.session(Some(era), behalf).await?;
        let first = session.call(&call).await;
        match first {
            // The upstream forgot the session, or its process ended before it took the call: a
            // new session, once.
            Err(UpstreamError::SessionLost) => {
                self.pool.forget(&session);
                let session = self.session(Some(era), behalf).await?;
                session.call(&call).await
            }
            other => other,
        }
    }

    async fn call_stateless(
        &self,
        transport: &Arc<HttpTransport>,
        call: Outgoing<'_>,
    ) -> Result<Exchange, UpstreamError> {
        let number = self
            .next_id
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            + 1;
        let id = Id::from(number);
        let wanted = call.progress_token.is_some();
        let params = session::with_progress_token(call.params.clone(), &id, wanted);
        let body = request_text(&call, &id, params.as_deref());
        let mirrored = ModernHeaders {
            name: call.name,
            extra: call.headers,
        };
        let source = match transport.post_modern(call.method, &body, mirrored).await? {
            Reply::Answer(answer, _) if answer.id.as_ref() == Some(&id) => {
                Source::Ready(Some(*answer))
            }
            Reply::Answer(answer, _) if answer.id.is_none() => {
                Source::Ready(Some(answer.with_id(&id)))
            }
            Reply::Answer(..) => {
                return Err(UpstreamError::Protocol(
                    "a response to another request".into(),
                ));
            }
            Reply::Stream(body, _) => Source::Stream(
                Box::new(HttpStream::modern(body, transport.max_message())),
                None,
            ),
            Reply::Accepted => {
                return Err(UpstreamError::Protocol(
                    "a request was accepted without an answer".into(),
                ));
            }
            Reply::Status(status) => return Err(UpstreamError::Status(status)),
        };
        Ok(Exchange {
            id,
            source,
            progress_token: call.progress_token,
            session: None,
            over: false,
        })
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
            self.close(&behalf.holder()).await;
            return Err(UpstreamError::Protocol(
                "it no longer speaks the revision that it did".into(),
            ));
        }
        Ok(session)
    }

    /// `ended` says that the session before has ended by itself.
    async fn open(
        &self,
        era: Option<Era>,
        behalf: &dyn OnBehalf,
        ended: bool,
    ) -> Result<Session, UpstreamError> {
        let (hello, sink) = (&behalf.hello(), behalf.sink());
        match &self.transport {
            Transport::Http(transport) => {
                let session = http::HttpSession::open(transport.clone(), hello, sink).await?;
                Ok(Session::Http(session))
            }
            Transport::Stdio(spec) => {
                if ended {
                    self.restart.lock().count_end();
                }
                self.start(spec, era, hello, sink).await
            }
        }
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

    fn holder_in_force(&self, holder: Holder) -> Holder {
        if self.settings.shared {
            Holder::Shared
        } else {
            holder
        }
    }

    /// Ends the sessions of `holder`.
    pub async fn close(&self, holder: &Holder) {
        for session in self.take(holder) {
            session.close().await;
        }
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
        let closing = idle.iter().map(Session::close);
        futures_util::future::join_all(closing).await;
        idle.len()
    }

    /// Ends all sessions.
    pub async fn close_all(&self) {
        let closing = self.pool.take_all().into_iter().map(|session| async move {
            session.close().await;
        });
        futures_util::future::join_all(closing).await;
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.pool.len()
    }
}

/// The text of the request as the upstream gets it.
fn request_text(call: &Outgoing<'_>, id: &Id, params: Option<&str>) -> ByteString {
    match call.envelope {
        Some(envelope) if envelope.method == *call.method => envelope.rewritten_text(id, params),
        _ => Request::new(id.clone(), call.method, params).text,
    }
}
