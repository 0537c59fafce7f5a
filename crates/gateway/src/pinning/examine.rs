//! What the text of a definition says by itself: its fingerprint, and what the scan finds in it.
//!
//! It takes longer than a task may hold up others (of 10,000 tools it is a good part of a second), so it is
//! done on the threads that may block, for few servers at a time, and once for each text.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use bytestring::ByteString;
use mcp_ultra_domain::{
    catalog::{Kind, Raw},
    pinning::{Fingerprint, MOST_PINS, fingerprint},
    scan::{self, Finding},
};
use mcp_ultra_protocol::json::Object;
use tokio_util::sync::CancellationToken;

/// How many texts are remembered of a server beside those that it offers.
const MOST_EARLIER: usize = MOST_PINS;

/// The SHA-256 of a text.
type Digest = [u8; 32];

/// What a text says by itself.
#[derive(Clone)]
pub(super) struct Examined {
    pub fingerprint: Fingerprint,
    pub findings: Arc<[Finding]>,
}

/// The texts of one server that need not be read again.
#[derive(Default)]
pub(super) struct Memory {
    /// Those that it offers.
    now: HashMap<Digest, Examined>,
    /// Those that it has offered before; a server may go back and forth.
    earlier: HashMap<Digest, Examined>,
}

/// A tool as it came.
pub(super) struct Seen {
    /// Its position in the definitions.
    pub at: usize,
    pub name: String,
    pub text: ByteString,
    pub examined: Examined,
}

/// The tools of one reading.
pub(super) struct Reading {
    /// Each name once.
    pub seen: Vec<Seen>,
    /// The positions of those that come again under a name.
    pub again: HashSet<usize>,
    /// How many texts were not known.
    pub scanned: usize,
}

/// The tools of `raw`; `None` when it was told to `stop`.
pub(super) fn examine(raw: &Raw, memory: &mut Memory, stop: &CancellationToken) -> Option<Reading> {
    let mut names = HashSet::new();
    let (mut seen, mut again) = (Vec::new(), HashSet::new());
    let mut now = HashMap::new();
    let mut scanned = 0;
    for (at, (kind, text)) in raw.definitions.iter().enumerate() {
        // The process may be about to end.
        if stop.is_cancelled() {
            return None;
        }
        let name = Some(text).filter(|_| *kind == Kind::Tool);
        let Some(name) = name.and_then(|text| name_of(text)) else {
            continue;
        };
        if !names.insert(name.clone()) {
            again.insert(at);
            continue;
        }
        let mut hash = Digest::default();
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        let examined = memory.get(&hash).unwrap_or_else(|| {
            scanned += 1;
            Examined::of(text)
        });
        now.insert(hash, examined.clone());
        seen.push(Seen {
            at,
            name,
            text: text.clone(),
            examined,
        });
    }
    memory.turn(now);
    Some(Reading {
        seen,
        again,
        scanned,
    })
}

impl Examined {
    fn of(text: &str) -> Self {
        Self {
            fingerprint: fingerprint(text),
            findings: scan::definition(text).into(),
        }
    }
}

impl Memory {
    fn get(&self, hash: &Digest) -> Option<Examined> {
        let known = self.now.get(hash).or_else(|| self.earlier.get(hash));
        known.cloned()
    }

    /// These are the texts that are offered now.
    fn turn(&mut self, now: HashMap<Digest, Examined>) {
        let before = std::mem::replace(&mut self.now, now);
        self.earlier.extend(before);
        self.earlier.retain(|hash, _| !self.now.contains_key(hash));
        // A server that offers so many has them read again.
        if self.earlier.len() > MOST_EARLIER {
            self.earlier = HashMap::new();
        }
    }
}

/// The name in a definition; `None` where it is left out of the catalog too.
fn name_of(definition: &str) -> Option<String> {
    let object = Object::parse(definition).ok()?;
    let name = object.get_str("name").filter(|name| !name.is_empty())?;
    Some(name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(tools: impl IntoIterator<Item = String>) -> Raw {
        Raw {
            definitions: tools
                .into_iter()
                .map(|text| (Kind::Tool, text.into()))
                .collect(),
            ..Raw::default()
        }
    }

    fn tools(description: &str, count: usize) -> Raw {
        raw((0..count).map(|at| format!(r#"{{"name":"t{at}","description":"{description}"}}"#)))
    }

    fn scanned(memory: &mut Memory, raw: &Raw) -> usize {
        let reading = examine(raw, memory, &CancellationToken::new()).unwrap();
        reading.scanned
    }

    #[test]
    fn no_text_is_scanned_twice() {
        let mut memory = Memory::default();
        let (one, two) = (tools("One", 5), tools("Two", 5));
        assert_eq!(scanned(&mut memory, &one), 5);
        assert_eq!(scanned(&mut memory, &one), 0);
        assert_eq!(scanned(&mut memory, &two), 5);
        // Back and forth, and away for a while.
        for raw in [&one, &Raw::default(), &two, &one] {
            assert_eq!(scanned(&mut memory, raw), 0);
        }
        assert_eq!(scanned(&mut memory, &tools("One", 6)), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        for round in 0..2 * MOST_EARLIER / 1000 + 2 {
            scanned(&mut memory, &tools(&round.to_string(), 1000));
            assert!(memory.earlier.len() <= MOST_EARLIER);
            assert_eq!(memory.now.len(), 1000);
        }
    }

    #[test]
    fn it_stops_when_told_to() {
        let stop = CancellationToken::new();
        stop.cancel();
        let mut memory = Memory::default();
        assert!(examine(&tools("One", 5), &mut memory, &stop).is_none());
    }
}
