//! Feature flags: switches that operators flip while the gateway runs. Definitions are flagd's JSON,
//! answers are `OpenFeature`'s.
//!
//! [`Flags::read`] reads and checks definitions, once; [`Flag::evaluate`] answers for one caller and
//! one thing that is called ([`FlagContext`]), without I/O and without locks. Where definitions come
//! from is somebody else's business: a [`Source`] is a name and a text, whether of a file or of a
//! registry.
//!
//! - `read` and `error`: from text to flags, and what is wrong with it, where
//! - `logic/`: targeting rules (`JsonLogic` with flagd's operations)
//! - `depends`: what an answer depends on, for those that keep answers
//! - `switches`: flags that switch servers and tools off
//! - `features`: flags that switch parts of the gateway itself

mod context;
mod definition;
mod depends;
mod details;
mod error;
mod features;
mod logic;
mod read;
mod switches;
mod value;

pub use context::{ATTRIBUTES, FlagContext};
pub use definition::{Flag, Flags};
pub use depends::Depends;
pub use details::{Details, ErrorCode, Reason};
pub use error::{FlagErrors, FlagProblem};
pub use features::Feature;
pub use read::Source;
pub use switches::{SwitchedOff, Switches, server_switch, tool_switch};
pub(crate) use value::whole;
pub use value::{FlagType, FlagValue};
