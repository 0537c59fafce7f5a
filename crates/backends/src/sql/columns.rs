//! From columns to the types of the domain and back.

use std::{collections::BTreeSet, time::Duration};

/// A column holds what this version has not written.
#[derive(Debug, thiserror::Error)]
#[error("the column {0} holds a value that this version does not know")]
pub(super) struct ColumnError(pub(super) &'static str);

pub(super) fn to_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn to_time(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn to_text(set: &BTreeSet<String>) -> String {
    serde_json::json!(set).to_string()
}

pub(super) fn to_set(column: &'static str, text: &str) -> Result<BTreeSet<String>, ColumnError> {
    serde_json::from_str(text).map_err(|_| ColumnError(column))
}

pub(super) fn to_count(column: &'static str, number: i64) -> Result<u64, ColumnError> {
    u64::try_from(number).map_err(|_| ColumnError(column))
}
