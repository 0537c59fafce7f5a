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
mod breaker;
mod calls;
mod credentials;
mod eras;
mod error;
mod exchange;
pub mod http;
mod incoming;
mod outgoing;
mod pool;
mod probe;
mod remedy;
mod retries;
mod session;
mod sessions;
mod settings;
mod sharing;
pub mod stdio;
mod subscriptions;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use mcp_ultra_domain::{breaker::Breaker, catalog::ServerCapabilities};
use mcp_ultra_protocol::{Era, Id, names::Naming};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub use behalf::{Behalf, OnBehalf};
pub(crate) use breaker::{Trial, seconds};
pub(crate) use calls::Named;
pub(crate) use credentials::Means;
pub use eras::Eras;
pub use error::UpstreamError;
use exchange::Source;
pub use exchange::{Event, Exchange};
use http::{HttpStream, HttpTransport, ModernHeaders, Reply};
pub use outgoing::{Outgoing, Role};
pub use pool::Holder;
use pool::Pool;
pub(crate) use retries::Retries;
pub use session::{Ending, Hello, Session, Sink, Welcome};
use sessions::Restart;
pub use settings::{Settings, SettingsError};
pub(crate) use sharing::{Sharing, Stray};
use stdio::{StdioSpec, supervise::Backoff};

use crate::metrics::Tally;

pub(crate) use http::error_code;

/// How many sessions one HTTP upstream may have with the gateway.
const MAX_HTTP_SESSIONS: usize = 16_384;
/// How many child processes one stdio upstream may have.
const MAX_PROCESSES: usize = 256;

/// How many upstreams there have been.
static EPOCHS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

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
    /// Where notifications of the gateway's own sessions go that belong to no call.
    own_sink: OnceLock<Sink>,
    /// Places for calls in flight (`limits.calls_per_server`).
    places: Arc<Semaphore>,
    /// Refuses calls while it keeps failing; `None` where it is configured to have none.
    breaker: Option<Breaker>,
    /// Told when the breaker has changed, where others want to know.
    breaker_changed: OnceLock<Arc<Notify>>,
    /// How its calls are made again; `None`: never.
    retries: Option<Retries>,
    /// What its times are counted from.
    since: Instant,
    /// What tells it from others of its name.
    epoch: u64,
    /// Whether it has resources, as far as is known.
    has_resources: AtomicBool,
    /// It was added to a gateway that runs, and nobody has been told that it is there.
    untold: AtomicBool,
    /// What is counted of its calls.
    tally: Tally,
    next_id: std::sync::atomic::AtomicU64,
    /// When a child process that keeps ending may be started again.
    restart: Mutex<Restart>,
    /// Told when the session that all callers share was opened.
    shared_opened: Notify,
    /// Lets one task at a time open sessions again for their subscriptions.
    restoring: tokio::sync::Mutex<()>,
    /// How its sessions are shared with other replicas, where they are.
    sharing: Option<Arc<Sharing>>,
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

impl Upstream {
    /// The upstream that `settings` describe. Nothing is connected or started yet.
    pub fn new(settings: Settings) -> Self {
        let transport = settings.transport();
        let eras = settings
            .fixed_era
            .map(|era| (Eras::only(era), Instant::now()));
        let restart = Restart::new(Backoff::new(settings.restart));
        Self {
            eras: Mutex::new(eras),
            detecting: tokio::sync::Mutex::default(),
            pool: Pool::new(match transport {
                Transport::Http(_) => MAX_HTTP_SESSIONS,
                Transport::Stdio(_) => MAX_PROCESSES,
            }),
            own_sink: OnceLock::new(),
            places: Arc::new(Semaphore::new(
                settings.max_calls.min(Semaphore::MAX_PERMITS),
            )),
            breaker: settings.breaker.map(Breaker::new),
            breaker_changed: OnceLock::new(),
            retries: settings.retry.as_ref().map(Retries::new),
            since: Instant::now(),
            epoch: EPOCHS.fetch_add(1, Ordering::Relaxed),
            has_resources: AtomicBool::new(true),
            untold: AtomicBool::new(false),
            tally: Tally::default(),
            next_id: std::sync::atomic::AtomicU64::new(0),
            restart: Mutex::new(restart),
            shared_opened: Notify::new(),
            restoring: tokio::sync::Mutex::default(),
            sharing: None,
            transport,
            settings,
        }
    }

    /// The same, of which replicas share the sessions that are a caller's.
    #[must_use]
    pub(crate) fn with_sharing(self, sharing: Option<Arc<Sharing>>) -> Self {
        Self { sharing, ..self }
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

    /// What tells it from every other one of this process, also from one that was configured under
    /// its name before or is after.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it may have resources: unless it was read and has said otherwise.
    pub(crate) fn has_resources(&self) -> bool {
        self.has_resources.load(Ordering::Relaxed)
    }

    /// It is added to a gateway that runs, maybe in the place of one of its name.
    pub(crate) fn note_new(&self) {
        self.untold.store(true, Ordering::Relaxed);
    }

    /// Whether it was added so, which is said once.
    pub(crate) fn take_new(&self) -> bool {
        self.untold.swap(false, Ordering::Relaxed)
    }

    /// Takes what it has declared.
    pub(crate) fn declares(&self, capabilities: &ServerCapabilities) {
        let resources = capabilities.resources;
        self.has_resources.store(resources, Ordering::Relaxed);
    }

    /// What is counted of its calls.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
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

    /// Sends a call in `era`, in a session on `behalf` of the caller where it needs one.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn call(
        &self,
        era: Era,
        behalf: &dyn OnBehalf,
        mut call: Outgoing<'_>,
    ) -> Result<Exchange, UpstreamError> {
        if let Transport::Http(transport) = &self.transport {
            if transport.needs_tokens() {
                call.subject = Some(behalf.subject());
            }
            if era == Era::Modern {
                return self.call_stateless(transport, call).await;
            }
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
                self.lost(&session).await;
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
        let body = call.text(&id);
        let mirrored = ModernHeaders {
            name: call.name,
            extra: call.headers,
        };
        let subject = call.subject.unwrap_or_default();
        let reply = transport.post_modern(call.method, &body, mirrored, &subject);
        let source = match reply.await? {
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
}
