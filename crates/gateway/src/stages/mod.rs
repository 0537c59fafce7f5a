//! The stages of [`crate::pipeline`], one file a stage.

pub(crate) mod admit;
pub(crate) mod authorize;
pub(crate) mod cache;
pub(crate) mod decode;
pub(crate) mod forward;
pub(crate) mod local;
pub(crate) mod meter;
pub(crate) mod protect;
pub(crate) mod route;
