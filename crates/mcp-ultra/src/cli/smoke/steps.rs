//! The steps, each timed, each bounded in time; one that fails does not stop those that do not
//! stand on it.

use std::time::{Duration, Instant};

use super::{
    language::{Texts, fill},
    report::{Report, Status},
};
use crate::{
    cli::progress::Progress,
    client::{Client, ClientError, Listing, Notice, Tool, Transport},
};

/// The call that is made to see that calls work.
#[derive(Debug)]
pub(super) struct Canary {
    pub(super) name: String,
    /// The text of an object.
    pub(super) arguments: String,
}

struct Steps<'a> {
    report: Report,
    transport: &'a Transport,
    timeout: Duration,
    texts: &'static Texts,
    progress: &'a Progress,
}

/// Runs all steps.
pub(super) async fn run(
    transport: &Transport,
    canary: Option<Canary>,
    timeout: Duration,
    texts: &'static Texts,
    progress: &Progress,
) -> Report {
    let report = Report {
        target: transport.target().to_string(),
        server: None,
        protocol_version: None,
        steps: Vec::new(),
    };
    let mut steps = Steps {
        report,
        transport,
        timeout,
        texts,
        progress,
    };
    if let Some(client) = steps.connect().await {
        let tools = steps.tools(&client).await;
        steps
            .listing(&client, Listing::Resources, texts.resources)
            .await;
        steps
            .listing(&client, Listing::Prompts, texts.prompts)
            .await;
        steps.canary(&client, tools.as_deref(), canary).await;
        // A server that does not end a session in time keeps nobody waiting.
        let _ = tokio::time::timeout(timeout, client.close()).await;
    } else {
        for name in ["tools/list", "resources/list", "prompts/list", "tools/call"] {
            steps.skip(name, texts.not_connected);
        }
    }
    steps.health("/livez").await;
    steps.health("/readyz").await;
    steps.report
}

impl Steps<'_> {
    async fn connect(&mut self) -> Option<Client> {
        let start = Instant::now();
        let connected = self.timed(Client::connect(self.transport.clone())).await;
        match connected {
            Ok(client) => {
                let server = client.server();
                let name = server.name.as_deref().unwrap_or("?");
                let release = server.release.as_deref().unwrap_or_default();
                let shown = format!("{name} {release}").trim().to_owned();
                let detail = format!("{shown}, {}", server.version);
                self.report.protocol_version = Some(server.version.as_str());
                self.report.server = Some(shown);
                self.report
                    .add("connect", Status::Ok, start.elapsed(), &detail);
                Some(client)
            }
            Err(why) => {
                self.report
                    .add("connect", Status::Failed, start.elapsed(), &why);
                None
            }
        }
    }

    async fn tools(&mut self, client: &Client) -> Option<Vec<Tool>> {
        let name = Listing::Tools.method();
        if !client.server().has(Listing::Tools.key()) {
            self.skip(name, self.texts.no_capability);
            return Some(Vec::new());
        }
        let (start, progress) = (Instant::now(), self.progress.clone());
        progress.say(name);
        let mut notices = |notice: Notice| progress.show(&notice);
        match self.timed(client.tools(&mut notices)).await {
            Ok(tools) => {
                let detail = fill(self.texts.tools, tools.len());
                self.report.add(name, Status::Ok, start.elapsed(), &detail);
                Some(tools)
            }
            Err(why) => {
                self.report.add(name, Status::Failed, start.elapsed(), &why);
                None
            }
        }
    }

    async fn listing(&mut self, client: &Client, listing: Listing, count: &str) {
        let name = listing.method();
        if !client.server().has(listing.key()) {
            return self.skip(name, self.texts.no_capability);
        }
        let start = Instant::now();
        self.progress.say(name);
        let (status, detail) = match self.timed(client.list(listing, &mut |_| {})).await {
            Ok(items) => (Status::Ok, fill(count, items.len())),
            Err(why) => (Status::Failed, why),
        };
        self.report.add(name, status, start.elapsed(), &detail);
    }

    async fn canary(&mut self, client: &Client, tools: Option<&[Tool]>, canary: Option<Canary>) {
        let name = "tools/call";
        let Some(tools) = tools else {
            return self.skip(name, self.texts.not_listed);
        };
        let Some(canary) = canary.or_else(|| choose(tools)) else {
            return self.skip(name, self.texts.no_canary);
        };
        let Some(tool) = tools.iter().find(|tool| tool.name == canary.name) else {
            let detail = fill(self.texts.no_such_tool, &canary.name);
            return self
                .report
                .add(name, Status::Failed, Duration::ZERO, &detail);
        };
        let (start, progress) = (Instant::now(), self.progress.clone());
        progress.say(format!("{name} {}", canary.name));
        let mut notices = |notice: Notice| {
            if matches!(notice, Notice::Progress { .. }) {
                progress.show(&notice);
            }
        };
        let call = client.call(&canary.name, &canary.arguments, Some(tool), &mut notices);
        let (status, detail) = match self.timed(call).await {
            Ok(result) if crate::cli::tools::is_error(&result) => {
                let what = crate::cli::tools::readable(&result);
                let said = fill(self.texts.tool_error, &canary.name);
                (Status::Failed, format!("{said}: {what}"))
            }
            Ok(_) => (Status::Ok, fill(self.texts.called, &canary.name)),
            Err(why) => (Status::Failed, why),
        };
        self.report.add(name, status, start.elapsed(), &detail);
    }

    /// A health endpoint of the same origin. Only the gateway promises them, so that one is
    /// absent is no failure; that it says no is.
    async fn health(&mut self, path: &'static str) {
        let start = Instant::now();
        self.progress.say(path);
        let (status, detail) = match self.timed(self.transport.get_path(path)).await {
            Ok(reply) if reply.status.is_success() => {
                (Status::Ok, fill(self.texts.status, reply.status.as_u16()))
            }
            Ok(mut reply) if reply.status.is_server_error() => {
                let said = fill(self.texts.status, reply.status.as_u16());
                let body = tokio::time::timeout(self.timeout, reply.shown()).await;
                (
                    Status::Failed,
                    format!("{said} {}", body.unwrap_or_default()),
                )
            }
            Ok(reply) => (
                Status::Skipped,
                fill(self.texts.no_endpoint, reply.status.as_u16()),
            ),
            Err(why) => (Status::Failed, why),
        };
        self.report.add(path, status, start.elapsed(), &detail);
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        self.report.add(name, Status::Skipped, Duration::ZERO, why);
    }

    /// Bounds a step, and makes its error one line.
    async fn timed<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(fill(self.texts.timeout, self.timeout.as_secs_f64())),
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        source = cause.source();
    }
    said
}

/// The tool to try: one that is made for it, else one that changes nothing and needs nothing.
fn choose(tools: &[Tool]) -> Option<Canary> {
    let echo = tools
        .iter()
        .find(|tool| tool.name == "echo")
        .or_else(|| tools.iter().find(|tool| tool.name.ends_with("_echo")));
    if let Some(tool) = echo
        && let Some(arguments) = echo_arguments(tool)
    {
        return Some(Canary {
            name: tool.name.clone(),
            arguments,
        });
    }
    let quiet = tools
        .iter()
        .find(|tool| tool.read_only && tool.needs_nothing())?;
    Some(Canary {
        name: quiet.name.clone(),
        arguments: "{}".to_owned(),
    })
}

/// Something to echo for every argument that is needed; `None` where one is no string.
fn echo_arguments(tool: &Tool) -> Option<String> {
    let mut needed: Vec<_> = tool.arguments();
    needed.retain(|argument| argument.required);
    needed
        .iter()
        .all(|argument| argument.kind.as_deref() == Some("string"))
        .then(|| {
            let members: serde_json::Map<_, _> = needed
                .into_iter()
                .map(|argument| (argument.name, serde_json::Value::from("mcp-ultra smoke")))
                .collect();
            serde_json::Value::Object(members).to_string()
        })
}
