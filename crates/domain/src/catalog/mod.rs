//! The catalog: the tools, resources, templates and prompts of all upstreams under their public
//! names.
//!
//! An upstream's lists become an [`Offer`] once, with public names already in the definitions;
//! [`Catalog::merge`] puts the offers of all upstreams together. Both are immutable: a change
//! makes new ones.

mod effect;
mod item;
mod merge;
mod offer;
mod page;
mod template;

pub use effect::{Effect, Trust};
pub use item::{Item, Kind, Labels};
pub use merge::{Catalog, Hidden, Listed, Source, State};
pub use offer::{Offer, Raw, ServerCapabilities};
pub use page::Page;
pub use template::Templates;
