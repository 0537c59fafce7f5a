//! Definitions of tools against their pins, before they become part of the catalog.
//!
//! [`Pinning`] is the way in: a keeper hands it the lists that it has read, and gets back what may
//! be offered. The rules are [`mcp_ultra_domain::pinning`]; what is here is who decides (the lock
//! file or the store), what is remembered so that nothing is computed or reported twice, and what
//! is told. Nothing of it is on the way of a call, but that names which are not listed are unknown
//! where pins are enforced.

mod alike;
mod examine;
mod judge;
mod report;
mod rules;

pub(crate) use judge::{Pinning, Tally};
pub(crate) use rules::PinRules;
