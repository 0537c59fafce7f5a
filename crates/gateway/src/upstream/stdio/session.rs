//! A session with a stdio upstream: one child process, many calls on its line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use mcp_ultra_protocol::{
    Era, Glimpse, Id, Message, Notification, Outcome, Request, Response, WireError, json,
};
use parking_lot::Mutex;

use super::{StdioEvent, StdioHandle, StdioProcess, StdioReader, StdioSpec, StdioWriter};
use crate::upstream::{
    Eras, Event, UpstreamError,
    calls::{Calls, Events},
    exchange::Source,
    probe::{modern_probe, read_discover},
    session::{Hello, Session, Sink, Welcome, initialize_params, read_initialize},
};

/// How long a server has to answer the probe before it is asked in the other era as well. Not
/// answering an unknown request before `initialize` is allowed to a legacy server.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// How long a message may wait until the server reads it.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// A running child process that has been greeted.
pub struct StdioSession {
    name: Arc<str>,
    writer: StdioWriter,
    handle: Mutex<Option<StdioHandle>>,
    closed: AtomicBool,
    era: Era,
    pub(in crate::upstream) own: bool,
    pub(in crate::upstream) welcome: Welcome,
    pub(in crate::upstream) calls: Calls,
}

impl std::fmt::Debug for StdioSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdioSession")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is known of the era of a server before it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Nothing: it is probed.
    Probe,
    /// It is spoken to in this era.
    As(Era),
}

impl StdioSession {
    /// Starts the server and greets it. Returns the session and what was learnt of its eras.
    ///
    /// # Errors
    /// [`UpstreamError`], also where the process ends before it has answered.
    pub async fn open(
        spec: &StdioSpec,
        opening: Opening,
        hello: &Hello,
        sink: Sink,
        start_time: Duration,
    ) -> Result<(Arc<Self>, Eras), UpstreamError> {
        let process = StdioProcess::spawn(spec)
            .map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        let (writer, reader, handle) = process.split();
        let exited = handle.exited();
        let mut line = Greeting { writer, reader };
        let greeting = tokio::time::timeout(start_time, line.greet(opening, hello));
        let (era, eras, welcome) = match greeting.await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(UpstreamError::Closed)) => {
                let exit = tokio::time::timeout(Duration::from_secs(1), exited).await;
                let how =
                    exit.map_or_else(|_| "it closed its output".into(), |exit| exit.to_string());
                return Err(UpstreamError::Unreachable(format!(
                    "the program did not come up: {how}"
                )));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(UpstreamError::Timeout(start_time.as_secs())),
        };
        let session = Arc::new(Self {
            name: spec.name.clone(),
            writer: line.writer,
            handle: Mutex::new(Some(handle)),
            closed: AtomicBool::new(false),
            era,
            own: hello.own,
            welcome,
            calls: Calls::default(),
        });
        tokio::spawn(read(Arc::downgrade(&session), line.reader, sink));
        Ok((session, eras))
    }

    /// The era that the process is spoken to in.
    pub fn era(&self) -> Era {
        self.era
    }

    pub(in crate::upstream) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Writes a call, whose events come out of `events`.
    pub(in crate::upstream) async fn begin(
        &self,
        text: &ByteString,
        events: Events,
    ) -> Result<Source, UpstreamError> {
        self.send(text).await.map_err(|error| match error {
            // What could not be queued was not read by anybody: a new process may get it.
            UpstreamError::Closed => UpstreamError::SessionLost,
            error => error,
        })?;
        // The reader may have ended between the check and the registration. Whether the process
        // took the call before is not known, so it is not made again.
        if self.is_closed() {
            return Err(UpstreamError::Closed);
        }
        Ok(Source::Channel(events))
    }

    pub(in crate::upstream) async fn send(&self, text: &ByteString) -> Result<(), UpstreamError> {
        write(&self.writer, text).await
    }

    pub(in crate::upstream) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let handle = self.handle.lock().take();
        if let Some(handle) = handle {
            let exit = handle.shutdown(Duration::from_secs(2)).await;
            tracing::debug!(upstream = %self.name, %exit, "a stdio upstream has been stopped");
        }
        self.calls.end_all();
    }
}

async fn write(writer: &StdioWriter, text: &ByteString) -> Result<(), UpstreamError> {
    let line = json::to_line(text).into_bytes();
    match tokio::time::timeout(WRITE_TIME, writer.send_line(line)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(UpstreamError::Closed),
        Err(_) => Err(UpstreamError::Timeout(WRITE_TIME.as_secs())),
    }
}

/// The line before the session stands: one question at a time.
struct Greeting {
    writer: StdioWriter,
    reader: StdioReader,
}

impl Greeting {
    async fn greet(
        &mut self,
        opening: Opening,
        hello: &Hello,
    ) -> Result<(Era, Eras, Welcome), UpstreamError> {
        // Small: an id beyond 2^53 comes back as another number from JavaScript, and not at all
        // from servers that keep ids in signed integers.
        let (probe, initialize) = (Id::from(0), Id::from(1));
        if opening != Opening::As(Era::Legacy) {
            let params = modern_probe(hello);
            self.send(&Request::new(probe.clone(), "server/discover", Some(&params)).text)
                .await?;
            let wait = if opening == Opening::Probe {
                PROBE_TIME
            } else {
                Duration::from_mins(10)
            };
            if let Ok(answer) = tokio::time::timeout(wait, self.answer()).await {
                let answer = answer?;
                if let Some((eras, welcome)) = read_discover(&answer)
                    && eras.modern
                {
                    return Ok((Era::Modern, eras, welcome));
                }
            }
        }
        let params = initialize_params(hello);
        self.send(&Request::new(initialize.clone(), "initialize", Some(&params)).text)
            .await?;
        loop {
            let answer = self.answer().await?;
            if answer.id == Some(probe.clone()) {
                // The probe was answered late: the process was slow to start.
                if let Some((eras, welcome)) = read_discover(&answer)
                    && eras.modern
                {
                    return Ok((Era::Modern, eras, welcome));
                }
                continue;
            }
            let Outcome::Result(result) = &answer.outcome else {
                return Err(UpstreamError::Protocol(
                    "it refused to open a session".into(),
                ));
            };
            let (version, welcome) = read_initialize(result)?;
            self.send(&Notification::new("notifications/initialized", None).text)
                .await?;
            return Ok((Era::Legacy, Eras::legacy(version), welcome));
        }
    }

    async fn send(&self, text: &ByteString) -> Result<(), UpstreamError> {
        write(&self.writer, text).await
    }

    /// The next response; everything else before it is answered or passed over.
    async fn answer(&mut self) -> Result<Response, UpstreamError> {
        loop {
            let Some(event) = self.reader.next().await else {
                return Err(UpstreamError::Closed);
            };
            let StdioEvent::Message(line) = event else {
                continue;
            };
            match Message::parse(line) {
                Ok(Message::Response(response)) => return Ok(response),
                Ok(Message::Request(request)) if request.method == "ping" => {
                    self.send(&Response::result(&request.id, "{}").text).await?;
                }
                _ => {}
            }
        }
    }
}

/// Reads the line for as long as the process lives.
async fn read(session: std::sync::Weak<StdioSession>, mut reader: StdioReader, sink: Sink) {
    while let Some(event) = reader.next().await {
        let Some(session) = session.upgrade() else {
            return;
        };
        match event {
            StdioEvent::Message(line) => match Message::parse(line) {
                Ok(message) => Session::Stdio(session).take(message, &sink).await,
                Err(error) => {
                    tracing::warn!(upstream = %session.name, %error, "a stdio upstream wrote a line that is not MCP");
                }
            },
            StdioEvent::Garbage(garbage) => {
                tracing::debug!(upstream = %session.name, reason = ?garbage.reason, "a stdio upstream wrote a line that is not MCP");
            }
            StdioEvent::TooLong { limit, beginning } => too_long(&session, limit, &beginning).await,
        }
    }
    if let Some(session) = session.upgrade() {
        session.closed.store(true, Ordering::Relaxed);
        session.calls.end_all();
        // One that has merely closed its output can answer nothing any more either: it is ended.
        drop(session.handle.lock().take());
        tracing::info!(upstream = %session.name, "a stdio upstream has ended");
    }
}

/// A line over the limit was skipped. What its beginning says decides whom that concerns: a call
/// whose answer it may have been would wait for ever otherwise, and so would the server for an
/// answer to its request.
async fn too_long(session: &StdioSession, limit: usize, beginning: &[u8]) {
    tracing::warn!(upstream = %session.name, limit, "a stdio upstream wrote a line over the limit");
    match Glimpse::of(beginning) {
        Some(Glimpse::Response(Some(id))) => {
            session.calls.answer(&id, Event::TooLarge(limit));
        }
        Some(Glimpse::Request(Some(id))) => {
            let error = WireError::invalid_request(format!("the request is over {limit} bytes"));
            drop(session.send(&Response::error(Some(&id), &error).text).await);
        }
        Some(Glimpse::Response(None) | Glimpse::Request(None)) => {
            session.calls.answer_all_too_large(limit);
        }
        Some(Glimpse::Notification) | None => {}
    }
}
