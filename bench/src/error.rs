//! The one error of the benchmark: what it was doing, and what stopped it.
//!
//! A failed *call* is not an error here: it is counted in the row it belongs to.

use std::io;

/// Why the benchmark could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, as a phrase: "starting nginx".
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A process or a peer did not do what the measurement needs.
    #[error("{0}")]
    Unusable(String),
}

/// Result with the benchmark's error.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Names what was being done when an I/O error came: `.map_err(io("reading the catalog"))`.
pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |source| Error::Io { doing, source }
}
