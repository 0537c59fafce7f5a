//! The configuration as a user meets it: files, variables and flags in, a configuration or an
//! error with line and column out.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod import;
#[cfg(test)]
mod never_panics;
#[cfg(test)]
mod precedence;
mod registry;
#[cfg(test)]
mod schema;
