//! The short form of the fuzz targets: the committed seeds and inputs made from them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mcp_ultra_fuzz_properties::{ALL, Property};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

/// How many inputs are made for each property. A few seconds for all of them, unoptimised.
const CASES: u32 = 1500;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn seeds(property: &Property) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("corpus").join(property.name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// What a piece of an input is exchanged for.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let telling = vec![
        "\"",
        "\\",
        "\\u0000",
        "\\ud800",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\r\n",
        "\n\n",
        "\0",
        "null",
        "1e400",
        "-",
        "é",
        "\u{feff}",
        "data:",
        "=?base64?",
        "?=",
    ];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(telling).prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// Any bytes, and inputs of the beginning of one seed and the end of another with some pieces
/// exchanged.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let spliced = (
        prop::sample::select(seeds.clone()),
        prop::sample::select(seeds),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut first, second, at, splice)| {
            if splice {
                first.truncate(at.index(first.len() + 1));
                first.extend(&second[at.index(second.len() + 1)..]);
            }
            first
        });
    let edit = (any::<prop::sample::Index>(), 0_usize..8, piece());
    let mutated = (spliced, prop::collection::vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
        for (at, removed, inserted) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, inserted);
        }
        bytes
    });
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        4 => mutated,
    ]
}

fn check(name: &str) {
    let property = ALL.iter().find(|property| property.name == name).unwrap();
    let seeds = seeds(property);
    assert!(seeds.len() >= 5, "{name} has too few seeds to start from");
    for seed in &seeds {
        (property.holds)(seed);
    }
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    // The property panics where it is broken; the runner catches that and shrinks the input.
    TestRunner::new(config)
        .run(&inputs(seeds), |input| {
            (property.holds)(&input);
            Ok::<(), TestCaseError>(())
        })
        .unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

macro_rules! one_test_each {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

one_test_each! { config edit envelope flags headers json names param_headers proof seal sse uri }

#[test]
fn every_property_has_a_test_a_target_and_seeds() {
    let properties: BTreeSet<&str> = ALL.iter().map(|property| property.name).collect();
    assert!(properties.iter().eq(TESTED), "{properties:?}");
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for name in &properties {
        let target = format!("fuzz_targets/{name}.rs");
        assert!(
            manifest.contains(&target),
            "fuzz/Cargo.toml has no {target}"
        );
        let source = fs::read_to_string(fuzz_folder().join(&target)).unwrap();
        assert!(source.contains(&format!("{name}::holds")), "{target}");
    }
    let folders: BTreeSet<String> = fs::read_dir(fuzz_folder().join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(folders.iter().eq(properties), "{folders:?}");
}
