//! What authorization servers publish of themselves: the documents (`fetch`), and where they are
//! and what they name (`discovery`).
//!
//! What does not live here: what is made of it, which is [`crate::identity`] for keys and
//! [`crate::credentials`] for tokens.

pub(crate) mod discovery;
pub(crate) mod fetch;
