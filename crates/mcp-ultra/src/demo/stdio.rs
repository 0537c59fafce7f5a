//! The stdio transport: one client, one message a line, and the era told for each message.

use std::{io, sync::Arc, time::Duration};

use mcp_ultra_protocol::{
    Body, ByteString, EnvelopeError, Message, Notification, Request, Response, WireError, json,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{broadcast::error::RecvError, mpsc},
};
use tokio_util::task::TaskTracker;

use super::{
    call::{Call, Outlet, Transport},
    dispatch,
    era::{self, Caller, Opening},
    in_flight::InFlight,
    lines::{Line, next_line},
    server::Server,
    session::Session,
};

/// The longest line, in bytes.
const MAX_LINE: usize = 4 << 20;
/// How many messages wait for a slow reader of stdout.
const OUTBOX: usize = 256;
/// How long answers may take that are still due when stdin ends.
const LINGER: Duration = Duration::from_millis(500);

/// The one client.
struct Connection {
    server: Arc<Server>,
    outlet: Outlet,
    in_flight: Arc<InFlight>,
    tasks: TaskTracker,
    /// Since the `initialize` of a legacy client.
    session: Option<Arc<Session>>,
}

/// What a request has become.
enum Opened {
    /// Something to work on.
    Call(Box<Call>),
    /// Something that has its answer.
    Answered(ByteString),
}

/// Serves the client at the other end, until `input` ends.
pub(super) async fn serve(
    server: Arc<Server>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let (outlet, outbox) = mpsc::channel(OUTBOX);
    let writer = tokio::spawn(write(outbox, output));
    let mut connection = Connection {
        server,
        outlet,
        in_flight: Arc::default(),
        tasks: TaskTracker::new(),
        session: None,
    };
    let read = connection.run(BufReader::new(input)).await;
    connection.end().await;
    // The writer ends with the last sender; a reader that does not read is not waited for.
    match tokio::time::timeout(LINGER, writer).await {
        Ok(Ok(written)) => read.and(written),
        Ok(Err(panicked)) => Err(io::Error::other(panicked)),
        Err(_) => read,
    }
}

async fn write(
    mut outbox: mpsc::Receiver<ByteString>,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(message) = outbox.recv().await {
        output.write_all(json::to_line(&message).as_bytes()).await?;
        output.write_all(b"\n").await?;
        if outbox.is_empty() {
            output.flush().await?;
        }
    }
    output.flush().await
}

impl Connection {
    async fn run(&mut self, mut input: BufReader<impl AsyncRead + Unpin>) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                line = next_line(&mut input, MAX_LINE) => line?,
                // Nobody reads the answers any more.
                () = self.outlet.closed() => return Ok(()),
            };
            match line {
                Line::End => return Ok(()),
                Line::TooLong => {
                    let error = WireError::invalid_request("the line is longer than 4 MiB");
                    self.refuse(None, &error).await;
                }
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => match Body::parse(line) {
                    Ok(Body::Single(message)) => self.take(message).await,
                    Ok(Body::Batch(messages)) => self.take_batch(messages).await,
                    Err(error) => self.refuse(Some(&error), &error.to_wire()).await,
                },
            }
        }
    }

    /// Stdin has ended: streams are closed in order, quick answers still go out.
    async fn end(self) {
        self.server.stopping.cancel();
        if let Some(session) = &self.session {
            session.closed.cancel();
        }
        self.tasks.close();
        if tokio::time::timeout(LINGER, self.tasks.wait())
            .await
            .is_err()
        {
            self.in_flight.cancel_all();
        }
    }

    async fn refuse(&self, why: Option<&EnvelopeError>, error: &WireError) {
        let id = why.and_then(EnvelopeError::id);
        self.send(Response::error(id, error).text).await;
    }

    async fn send(&self, message: ByteString) {
        // An error means that the writer has ended, which ends the loop in `run`.
        let _ = self.outlet.send(message).await;
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Request(request) => match self.open(request) {
                Opened::Call(call) => self.spawn(*call, self.outlet.clone()),
                Opened::Answered(answer) => self.send(answer).await,
            },
            Message::Notification(notification) => self.hear(&notification),
            Message::Response(response) => self.resolve(response),
        }
    }

    fn hear(&self, notification: &Notification) {
        if &*notification.method == "notifications/cancelled" {
            self.in_flight.cancel(notification);
        }
    }

    fn resolve(&self, response: Response) {
        if let Some(session) = &self.session {
            session.answered(response);
        }
    }

    /// Makes a call of `request`. Refusals and the legacy handshake need none.
    fn open(&mut self, request: Request) -> Opened {
        let refused =
            |error: &WireError| Opened::Answered(Response::error(Some(&request.id), error).text);
        let caller = match (era::opening(&request), &self.session) {
            (Ok(Opening::Modern(caller)), _) => Caller::Modern(caller),
            (Ok(Opening::Legacy), Some(session)) => Caller::Legacy(Arc::clone(session)),
            (Ok(Opening::Legacy), None) if &*request.method == "ping" => {
                // Legal before the handshake (2025-11-25, Lifecycle, Initialization).
                return Opened::Answered(Response::result(&request.id, "{}").text);
            }
            (Ok(Opening::Legacy), None) => return refused(&era::missing_meta()),
            (Ok(Opening::Initialize), None) => return Opened::Answered(self.initialize(&request)),
            (Ok(Opening::Initialize), Some(_)) => {
                let error = "the session is initialized already";
                return refused(&WireError::invalid_request(error));
            }
            (Err(error), _) => return refused(&error),
        };
        Opened::Call(Box::new(Call::new(
            Arc::clone(&self.server),
            caller,
            Transport::Stdio,
            self.outlet.clone(),
            request,
        )))
    }

    fn initialize(&mut self, request: &Request) -> ByteString {
        let in_flight = Arc::clone(&self.in_flight);
        match Session::open(request.params.as_deref(), in_flight) {
            Ok((session, result)) => {
                // Listens before the client can change anything.
                let changes = self.server.events.hear();
                self.session = Some(Arc::clone(&session));
                tokio::spawn(tell(session, changes, self.outlet.downgrade()));
                Response::result(&request.id, &result.to_string()).text
            }
            Err(error) => Response::error(Some(&request.id), &error).text,
        }
    }

    /// Works on `call` in a task of its own; the answer goes to `answers`.
    fn spawn(&self, call: Call, answers: mpsc::Sender<ByteString>) {
        let ticket = self.in_flight.enter(&call.request.id);
        self.tasks.spawn(async move {
            let Some(answer) = dispatch::response(&call, ticket).await else {
                return;
            };
            // An error means that the client has gone.
            let _ = answers.send(answer).await;
        });
    }

    /// A batch: each element is answered, all answers in one array (2025-03-26, Batching).
    async fn take_batch(&mut self, messages: Vec<Result<Message, EnvelopeError>>) {
        let allowed = self
            .session
            .as_ref()
            .is_some_and(|session| session.version.has_batches());
        if !allowed {
            let error = WireError::invalid_request("batches exist in 2025-03-26 only");
            return self.refuse(None, &error).await;
        }
        let (answers, mut answered) = mpsc::channel::<ByteString>(OUTBOX);
        let mut parts = Vec::new();
        for message in messages {
            match message {
                Ok(Message::Request(request)) => match self.open(request) {
                    Opened::Call(call) => self.spawn(*call, answers.clone()),
                    Opened::Answered(answer) => parts.push(answer),
                },
                Ok(Message::Notification(notification)) => self.hear(&notification),
                Ok(Message::Response(response)) => self.resolve(response),
                Err(error) => parts.push(Response::error(error.id(), &error.to_wire()).text),
            }
        }
        drop(answers);
        let outlet = self.outlet.clone();
        self.tasks.spawn(async move {
            while let Some(answer) = answered.recv().await {
                parts.push(answer);
            }
            if !parts.is_empty() {
                let array: Vec<&str> = parts.iter().map(|part| &**part).collect();
                let _ = outlet.send(format!("[{}]", array.join(",")).into()).await;
            }
        });
    }
}

/// Tells a legacy client of changes for as long as it is there.
async fn tell(
    session: Arc<Session>,
    mut changes: tokio::sync::broadcast::Receiver<super::events::Change>,
    outlet: mpsc::WeakSender<ByteString>,
) {
    loop {
        let changed = tokio::select! {
            changed = changes.recv() => changed,
            () = session.closed.cancelled() => return,
        };
        let wanted = match changed {
            Ok(change) if session.wants(&change) => vec![change],
            Ok(_) => continue,
            Err(RecvError::Lagged(_)) => session.all_wanted(),
            Err(RecvError::Closed) => return,
        };
        for change in wanted {
            let Some(outlet) = outlet.upgrade() else {
                return;
            };
            if outlet.send(change.notification(None)).await.is_err() {
                return;
            }
        }
    }
}
