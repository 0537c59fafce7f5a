//! What becomes of the tokens that people have granted, at a real authorization server.

mod ended;
mod keeping;
mod lending;
mod refresh;
mod world;

use super::*;
