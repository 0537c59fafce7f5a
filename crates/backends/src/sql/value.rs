//! What is bound to the parameters of a statement, for both engines.

use std::borrow::Cow;

use sqlx::{Arguments, postgres::PgArguments, sqlite::SqliteArguments};

use super::{error::SqlError, text};

/// A parameter. Those that may be missing keep their type: PostgreSQL asks for it.
#[derive(Debug)]
pub(super) enum Value<'q> {
    Text(Option<Cow<'q, str>>),
    Bytes(&'q [u8]),
    Number(Option<i64>),
    Bool(bool),
}

/// The parameters of a statement, from whatever becomes a [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::sql::value::Value::from($value)),*]
    };
}
pub(super) use values;

pub(super) fn for_sqlite(values: &[Value<'_>]) -> Result<SqliteArguments, SqlError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Bytes(bytes) => arguments.add(*bytes),
            Value::Number(number) => arguments.add(*number),
            Value::Bool(yes) => arguments.add(*yes),
        }
        .map_err(SqlError::unbound)?;
    }
    Ok(arguments)
}

pub(super) fn for_postgres(values: &[Value<'_>]) -> Result<PgArguments, SqlError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text.as_deref().map(text::without_nul)),
            Value::Bytes(bytes) => arguments.add(*bytes),
            Value::Number(number) => arguments.add(*number),
            Value::Bool(yes) => arguments.add(*yes),
        }
        .map_err(SqlError::unbound)?;
    }
    Ok(arguments)
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(text: &'q str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(text: &'q String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl<'q> From<&'q [u8; 32]> for Value<'q> {
    fn from(bytes: &'q [u8; 32]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}
