//! From columns to the types of the domain and back.

use std::{collections::BTreeSet, time::Duration};

use super::error::SqlError;

pub(super) fn to_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn to_time(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn to_text(set: &BTreeSet<String>) -> String {
    serde_json::json!(set).to_string()
}

pub(super) fn to_set(column: &'static str, text: &str) -> Result<BTreeSet<String>, SqlError> {
    serde_json::from_str(text).map_err(|_| SqlError::Column(column))
}

pub(super) fn to_number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn to_count(column: &'static str, number: i64) -> Result<u64, SqlError> {
    u64::try_from(number).map_err(|_| SqlError::Column(column))
}
