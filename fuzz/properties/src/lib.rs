//! What must hold for any input that someone else decides, one module a property.
//!
//! Each module has one function `holds`, which panics where the property is broken. The fuzz
//! targets in `fuzz/fuzz_targets` run it under libFuzzer for as long as they are given; the tests
//! of this crate run the same functions over the committed seeds (`fuzz/corpus/<name>`) and over
//! some thousand inputs made from them, with a stable compiler, in a few seconds.
//!
//! What does not live here: examples of right behaviour. Those are tests of the crates themselves.

pub mod config;
pub mod edit;
pub mod envelope;
pub mod flags;
pub mod headers;
pub mod json;
pub mod names;
pub mod param_headers;
pub mod proof;
pub mod seal;
pub mod sse;
pub mod uri;

/// One property.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// The name of its fuzz target, and of the folder of its seeds.
    pub name: &'static str,
    /// Panics where the property does not hold for the input.
    pub holds: fn(&[u8]),
}

/// All properties.
pub const ALL: &[Property] = &[
    Property {
        name: "config",
        holds: config::holds,
    },
    Property {
        name: "edit",
        holds: edit::holds,
    },
    Property {
        name: "envelope",
        holds: envelope::holds,
    },
    Property {
        name: "flags",
        holds: flags::holds,
    },
    Property {
        name: "headers",
        holds: headers::holds,
    },
    Property {
        name: "json",
        holds: json::holds,
    },
    Property {
        name: "names",
        holds: names::holds,
    },
    Property {
        name: "param_headers",
        holds: param_headers::holds,
    },
    Property {
        name: "proof",
        holds: proof::holds,
    },
    Property {
        name: "seal",
        holds: seal::holds,
    },
    Property {
        name: "sse",
        holds: sse::holds,
    },
    Property {
        name: "uri",
        holds: uri::holds,
    },
];

/// Between the parts of an input that has several: a byte that UTF-8 never holds.
pub const SEPARATOR: u8 = 0xff;

/// The parts of an input, as text where they are.
fn parts(data: &[u8]) -> impl Iterator<Item = &str> {
    data.split(|byte| *byte == SEPARATOR)
        .map(|part| std::str::from_utf8(part).unwrap_or_default())
}
