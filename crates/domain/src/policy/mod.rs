//! Policy: may this principal do this to that? Cedar with a schema of our own (`schema.cedarschema`).
//!
//! [`Policies::compile`] reads and checks the text of policies and makes an index by scope.
//! [`Policies::standing`] is what of them concerns one principal, and [`Policies::decide`] answers
//! for one request. What the scope of a policy says (`principal`, `action`, `resource`) is
//! decided by the index, exactly; conditions (`when`, `unless`) are evaluated by Cedar, and only
//! those of policies whose scope fits. `forbid` wins, no policy is a refusal, and a condition that
//! can't be evaluated is one too.
//!
//! What may be called and what is listed are one question: see [`Ask`].
//!
//! What the admin API does is decided in the same way, on a [`Resource::administration`]. An action
//! more is a line in `schema.cedarschema` and one in `action`.

mod action;
mod arguments;
mod built_in;
mod compile;
mod context;
mod decide;
mod decision;
mod entity;
mod error;
mod flags;
mod formula;
mod index;
mod lister;
mod listing;
mod needs;
mod resource;
mod rule;
mod schema;
mod spelling;
mod standing;
mod value;

pub use action::Action;
pub use compile::{AdminPermits, Policies, Source};
pub use decision::{Ask, Circumstances, Decision, Failure, Verdict, WithTime};
pub(crate) use entity::principal_id;
pub(crate) use error::position;
pub use error::{PolicyErrors, Problem};
pub(crate) use formula::Pattern;
pub use lister::{Lister, Shown};
pub use resource::{Annotations, Classes, DataClass, Resource, Target};
pub use rule::{Effect, PolicyName};
pub use schema::SCHEMA;
pub use standing::Standing;
