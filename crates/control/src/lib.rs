//! The control plane: what administers a gateway, beside the calls that go through it.
//!
//! - [`answers`]: answers that are kept are forgotten
//! - [`api`]: the admin API, over HTTP
//! - [`keys`]: API keys are made, changed and ended
//! - [`breakers`]: circuit breakers of servers are shown and forced
//! - [`blocks`]: callers are refused for a time
//! - [`grants`]: what people have granted at servers is listed and withdrawn
//! - [`pins`]: definitions of tools are shown and approved
//! - [`registry`]: servers, policies and feature flags are shown, put and taken away
//! - [`sessions`]: what callers have open is listed and ended
//! - [`time`]: how all of these show times
//!
//! Nothing here knows where things are kept (that is `backends`, behind the ports of the domain)
//! nor how calls are answered (`gateway`).

pub mod answers;
pub mod api;
pub mod blocks;
pub mod breakers;
pub mod grants;
pub mod keys;
pub mod pins;
pub mod registry;
pub mod sessions;
pub mod time;
