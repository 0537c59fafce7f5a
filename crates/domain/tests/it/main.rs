//! The rules over made-up inputs: what must hold whatever upstreams offer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

mod catalog;
mod flags;
mod flags_fractional;
mod item;
mod policy;
mod policy_flags;
mod policy_index;
