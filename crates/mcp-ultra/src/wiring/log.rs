//! Logging: one JSON object a line, or text on a terminal.

use std::{fmt, io::IsTerminal};

use mcp_ultra_config::{LogFormat, LogLevel, LogSection};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::{Targets, filter_fn},
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

/// The target of the one line that says where the gateway listens. It is written at every level.
pub(crate) const LISTENING: &str = "mcp_ultra::listening";

/// The level, which can be changed while running.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Sets the level.
    pub(crate) fn set(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and then there is nothing to set.
        drop(self.0.reload(targets(level)));
    }
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output: what a container's runtime collects.
    Stdout,
    /// Standard error: beside what a command prints for people.
    Stderr,
}

/// Starts logging; once a process.
pub(crate) fn start(section: &LogSection, output: Output) -> Level {
    let (filter, handle) = reload::Layer::new(targets(section.level));
    let terminal = match output {
        Output::Stdout => std::io::stdout().is_terminal(),
        Output::Stderr => std::io::stderr().is_terminal(),
    };
    let writer = move || -> Box<dyn std::io::Write> {
        match output {
            Output::Stdout => Box::new(std::io::stdout()),
            Output::Stderr => Box::new(std::io::stderr()),
        }
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(terminal);
    let layer = match section.format(terminal) {
        LogFormat::Json => lines.fmt_fields(JsonFields).event_format(Json).boxed(),
        LogFormat::Text => lines.with_target(false).boxed(),
    };
    // hyper and its like trace every poll; they are heard of in our own words.
    let ours = filter_fn(|meta| {
        meta.target().starts_with("mcp_ultra")
            || meta.target().starts_with("upstream")
            || *meta.level() <= tracing::Level::WARN
    });
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(layer.with_filter(ours))
        .try_init();
    debug_assert!(started.is_ok(), "logging is started once");
    Level(handle)
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level)
        .with_target(LISTENING, LevelFilter::INFO)
}

/// One JSON object a line: time, level, target, message, then the fields of the event and of the
/// spans around it.
struct Json;

/// Fields of a span, kept as a JSON object.
struct JsonFields;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let mut line = Map::new();
        line.insert("time".into(), jiff::Timestamp::now().to_string().into());
        line.insert("level".into(), meta.level().as_str().into());
        line.insert("target".into(), meta.target().into());
        event.record(&mut Fields(&mut line));
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                let extensions = span.extensions();
                let Some(fields) = extensions.get::<FormattedFields<N>>() else {
                    continue;
                };
                if let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields) {
                    line.extend(fields);
                }
            }
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        mut writer: Writer<'w>,
        fields: R,
    ) -> fmt::Result {
        let mut map = Map::new();
        fields.record(&mut Fields(&mut map));
        write!(writer, "{}", Value::Object(map))
    }
}

/// Collects fields as JSON values.
struct Fields<'m>(&'m mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}
