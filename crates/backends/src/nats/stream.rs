//! The stream that announcements are in, and its names.

use async_nats::jetstream::{
    Context, ErrorCode,
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream},
};
use std::time::Duration;

use super::wire::LONGEST;

/// How long announcements are kept: longer than a connection is usually lost for. Who comes back
/// later looks at everything, as anybody does who comes back.
const KEPT: Duration = Duration::from_mins(10);
/// How many at most, however many are announced.
const MOST: i64 = 100_000;
/// How many bytes at most.
const MOST_BYTES: i64 = 16 << 20;
/// How long a message that is sent again is known to be the same.
const SAME: Duration = Duration::from_mins(2);
/// On how many servers it is, where there are as many.
const REPLICAS: usize = 3;

/// What is published to.
pub(super) fn subject(prefix: &str) -> String {
    format!("{prefix}.announcements")
}

/// What the stream is called.
fn name(prefix: &str) -> String {
    format!("{prefix}-announcements")
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("the stream can't be looked for: {0}")]
    Get(#[from] GetStreamError),
    #[error("the stream can't be made: {0}")]
    Create(#[from] CreateStreamError),
}

/// The stream as it is there, or a new one. One that an operator has made, with other limits, is
/// used as it is.
pub(super) async fn ensure(context: &Context, prefix: &str) -> Result<Stream<Info>, StreamError> {
    let name = name(prefix);
    let found = match context.get_stream(&name).await {
        Ok(stream) => Some(stream),
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(stream) = found else {
        return create(context, prefix).await;
    };
    let info = stream.cached_info();
    let is_ours = info.config.description.as_deref() == Some(DESCRIPTION);
    if is_ours && info.cluster.is_some() && info.config.num_replicas < REPLICAS {
        // It was made while servers were missing, which they may be still.
        let more = config(prefix, REPLICAS);
        if let Err(error) = context.update_stream(more).await {
            tracing::debug!(%error, "the stream of announcements stays on fewer servers");
        }
    }
    Ok(stream)
}

const DESCRIPTION: &str = "MCP Ultra: what gateways tell each other has changed";

async fn create(context: &Context, prefix: &str) -> Result<Stream<Info>, StreamError> {
    match context.create_stream(config(prefix, REPLICAS)).await {
        Err(error) if has_too_few_servers(&error) => {}
        // Another replica was faster, on as many servers as there were.
        Err(error) if exists(&error) => return Ok(context.get_stream(name(prefix)).await?),
        created => return Ok(created?),
    }
    match context.create_stream(config(prefix, 1)).await {
        Err(error) if exists(&error) => Ok(context.get_stream(name(prefix)).await?),
        created => Ok(created?),
    }
}

fn config(prefix: &str, replicas: usize) -> Config {
    Config {
        name: name(prefix),
        subjects: vec![subject(prefix)],
        description: Some(DESCRIPTION.to_owned()),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age: KEPT,
        max_messages: MOST,
        max_bytes: MOST_BYTES,
        max_message_size: i32::try_from(LONGEST).unwrap_or(i32::MAX),
        duplicate_window: SAME,
        num_replicas: replicas,
        ..Config::default()
    }
}

fn is_missing(error: &GetStreamError) -> bool {
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}

fn code(error: &CreateStreamError) -> Option<ErrorCode> {
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
        _ => None,
    }
}

fn has_too_few_servers(error: &CreateStreamError) -> bool {
    let codes = [
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
        ErrorCode::CLUSTER_NO_PEERS,
    ];
    code(error).is_some_and(|code| codes.contains(&code))
}

fn exists(error: &CreateStreamError) -> bool {
    code(error) == Some(ErrorCode::STREAM_NAME_EXIST)
}
