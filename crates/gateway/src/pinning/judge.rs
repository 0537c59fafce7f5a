use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use bytestring::ByteString;
use mcp_ultra_domain::{
    Clock,
    catalog::{Kind, Raw},
    pinning::{Definition, Fingerprint, Ground, Mode, PinHead, Sighting, Standing, fingerprint},
    ports::{PinStore, PinStoreError},
    scan::{self, Finding, FindingKind, Severity},
};
use mcp_ultra_protocol::json::Object;
use parking_lot::Mutex;

use super::{PinRules, report};

/// Judges the tools that upstreams offer.
pub(crate) struct Pinning {
    store: Arc<dyn PinStore>,
    clock: Arc<dyn Clock>,
    /// The tools of each upstream as they were judged last.
    judged: Mutex<HashMap<Arc<str>, Arc<Judged>>>,
}

/// The tools of one upstream.
#[derive(Default)]
struct Judged {
    tools: HashMap<String, Tool>,
}

/// A tool as it was judged.
struct Tool {
    /// Of the text as it came: the same text is not read again.
    text: [u8; 32],
    fingerprint: Fingerprint,
    standing: Standing,
    /// What the scan finds in the definition alone.
    inside: Arc<[Finding]>,
    /// A name that looks like another one.
    alike: Option<Finding>,
}

/// How many tools of an upstream are of which standing, and how many findings of which kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub standings: [usize; Standing::ALL.len()],
    pub findings: [usize; FindingKind::ALL.len()],
}

/// A definition on its way to a judgement.
struct Candidate {
    /// Its position in the definitions.
    at: usize,
    name: String,
    text: ByteString,
    tool: Tool,
}

impl Pinning {
    pub(crate) fn new(store: Arc<dyn PinStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            judged: Mutex::default(),
        }
    }

    /// What of `raw` may be offered: all, but for tools that `rules` hold back. Of several tools of
    /// one name the first is meant, here as in the catalog.
    pub(crate) async fn judge(&self, server: &Arc<str>, raw: &Raw, rules: &PinRules) -> Raw {
        let mode = rules.mode(server);
        if mode == Mode::Off {
            self.judged.lock().remove(server);
            return raw.clone();
        }
        let before = self.judged.lock().get(server).cloned();
        let (mut found, mut left_out) = candidates(raw, before.as_deref());
        self.look_for_alikes(server, before.as_deref(), &mut found);
        self.decide(server, rules, &mut found).await;
        let known = |name: &str| before.as_ref().and_then(|before| before.tools.get(name));
        let news = found.iter().filter(|one| {
            known(&one.name).is_none_or(|before| {
                before.fingerprint != one.tool.fingerprint || before.standing != one.tool.standing
            })
        });
        let news = news.map(|one| (&*one.name, one.tool.standing, one.tool.fingerprint));
        report::standings(server, mode, &news.collect::<Vec<_>>());
        let findings = found.iter().filter(|one| {
            known(&one.name).is_none_or(|before| {
                before.fingerprint != one.tool.fingerprint || before.alike != one.tool.alike
            })
        });
        let findings = findings.flat_map(|one| one.tool.findings().map(|f| (&*one.name, f)));
        report::findings(server, &findings.collect::<Vec<_>>());
        let held = found
            .iter()
            .filter(|one| mode.holds_back(one.tool.standing));
        left_out.extend(held.map(|one| one.at));
        let tools = found.into_iter().map(|one| (one.name, one.tool)).collect();
        let judged = Arc::new(Judged { tools });
        self.judged.lock().insert(server.clone(), judged);
        let all = raw.definitions.iter().enumerate();
        let offered = all.filter(|(at, _)| !left_out.contains(at));
        Raw {
            definitions: offered.map(|(_, one)| one.clone()).collect(),
            ..raw.without_definitions()
        }
    }

    /// How the tools of each upstream are.
    pub(crate) fn tallies(&self) -> Vec<(Arc<str>, Tally)> {
        let judged = self.judged.lock();
        let servers = judged.iter();
        servers
            .map(|(name, one)| (name.clone(), one.tally()))
            .collect()
    }

    /// Forgets the upstreams that are not among these.
    pub(crate) fn keep(&self, servers: &HashSet<&str>) {
        self.judged
            .lock()
            .retain(|name, _| servers.contains(&**name));
    }

    /// Another number after each approval, by whatever process; `None` where the store can't say.
    pub(crate) async fn approvals(&self) -> Option<u64> {
        match self.store.approvals().await {
            Ok(number) => Some(number),
            Err(error) => {
                tracing::debug!(%error, "it is not known whether tools were approved");
                None
            }
        }
    }

    /// Names that look like those of other upstreams, which were here first: a name that was here
    /// `before` without looking like one is not reported for a newcomer. A name in ASCII is not held
    /// back for what imitates it.
    fn look_for_alikes(&self, server: &Arc<str>, before: Option<&Judged>, found: &mut [Candidate]) {
        let judged = self.judged.lock();
        let others = judged.iter().filter(|(name, _)| *name != server);
        let mut names: Vec<&str> = others
            .flat_map(|(_, one)| one.tools.keys().map(String::as_str))
            .collect();
        // In an order that does not depend on a hash, so that the same name is found each time.
        names.sort_unstable();
        let first = names.len();
        names.extend(found.iter().map(|one| &*one.name));
        let alike: Vec<_> = scan::look_alikes(&names)
            .into_iter()
            .filter_map(|(at, finding)| Some((at.checked_sub(first)?, finding)))
            .collect();
        drop(judged);
        for (at, mut finding) in alike {
            let known = before.and_then(|before| before.tools.get(&found[at].name));
            if known.is_some_and(|known| known.alike.is_none()) {
                continue;
            }
            if found[at].name.is_ascii() {
                finding.severity = Severity::Medium;
            }
            found[at].tool.alike = Some(finding);
        }
        for one in found.iter_mut().filter(|one| !one.name.is_ascii()) {
            if let Some(finding) = scan::mixed_scripts(&one.name) {
                one.tool.alike.get_or_insert(finding);
            }
        }
    }

    /// Gives every candidate its standing.
    async fn decide(&self, server: &Arc<str>, rules: &PinRules, found: &mut [Candidate]) {
        if let Some(lock) = rules.lock() {
            for one in found.iter_mut() {
                one.tool.standing = lock.standing(server, &one.name, one.tool.fingerprint);
            }
            // The file decides; the store is told, so that what waits can be shown.
            let told = self.heads(server, found, true).await;
            if let Err(error) = told {
                tracing::warn!(upstream = %server, %error, "what the tools are by the lock file can't be kept");
            }
            return;
        }
        let heads = match self.heads(server, found, false).await {
            Ok(heads) => heads,
            Err(error) => {
                tracing::error!(upstream = %server, %error, "tools can't be compared with their pins: only those that were approved before count as approved");
                return self.decide_by_memory(server, found);
            }
        };
        for one in found {
            one.tool.standing = match heads.get(&one.name) {
                Some(head) => head.standing(one.tool.fingerprint),
                // The store takes no more of this server.
                None => Standing::Unknown,
            };
        }
    }

    /// What the store knows after it was told what is new.
    async fn heads(
        &self,
        server: &str,
        found: &[Candidate],
        locked: bool,
    ) -> Result<HashMap<String, PinHead>, PinStoreError> {
        let mut heads = by_name(self.store.of_server(server).await?);
        let news: Vec<Sighting> = found
            .iter()
            .filter(|one| one.is_news(heads.get(&one.name), locked))
            .map(|one| one.sighting(locked))
            .collect();
        let here: HashSet<&str> = found.iter().map(|one| &*one.name).collect();
        let gone: Vec<String> = heads
            .values()
            .filter(|head| head.offered && !here.contains(&*head.tool))
            .map(|head| head.tool.clone())
            .collect();
        if !news.is_empty() || !gone.is_empty() {
            let now = self.clock.now();
            self.store.saw(server, &news, &gone, now).await?;
            heads = by_name(self.store.of_server(server).await?);
        }
        Ok(heads)
    }

    fn decide_by_memory(&self, server: &Arc<str>, found: &mut [Candidate]) {
        let judged = self.judged.lock().get(server).cloned();
        for one in found {
            let before = judged.as_ref().and_then(|all| all.tools.get(&one.name));
            let same = before.filter(|before| before.fingerprint == one.tool.fingerprint);
            one.tool.standing = same.map_or(Standing::Unknown, |same| same.standing);
        }
    }
}

impl Candidate {
    /// Whether the store does not know it as it is.
    fn is_news(&self, head: Option<&PinHead>, locked: bool) -> bool {
        let Some(head) = head.filter(|head| head.offered) else {
            return true;
        };
        let Tool {
            fingerprint,
            standing,
            ..
        } = self.tool;
        let is_pin = head.approved == Some(fingerprint);
        match (locked, standing) {
            (false, _) if is_pin => head.waiting.is_some(),
            (false, _) => head
                .waiting
                .is_none_or(|(waiting, _)| waiting != fingerprint),
            (true, Standing::Approved) => !is_pin || head.waiting.is_some(),
            (true, standing) => head.waiting != Some((fingerprint, standing)),
        }
    }

    fn sighting(&self, locked: bool) -> Sighting {
        let ground = if locked {
            Ground::Lock(self.tool.standing)
        } else {
            let mut findings = self.tool.findings();
            Ground::FirstSight {
                suspicious: findings.any(|one| one.severity == Severity::High),
            }
        };
        Sighting {
            tool: self.name.clone(),
            definition: Definition::known(&self.text, self.tool.fingerprint),
            findings: self.tool.findings().cloned().collect(),
            ground,
        }
    }
}

impl Tool {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.inside.iter().chain(&self.alike)
    }
}

impl Judged {
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for tool in self.tools.values() {
            tally.standings[tool.standing as usize] += 1;
            for finding in tool.findings() {
                tally.findings[finding.kind as usize] += 1;
            }
        }
        tally
    }
}

/// The tools of `raw`, each name once, and the positions of those that come again under a name;
/// what was judged `before` is not read again.
fn candidates(raw: &Raw, before: Option<&Judged>) -> (Vec<Candidate>, HashSet<usize>) {
    let mut names = HashSet::new();
    let (mut found, mut again) = (Vec::new(), HashSet::new());
    for (at, (kind, text)) in raw.definitions.iter().enumerate() {
        let name = Some(text).filter(|_| *kind == Kind::Tool);
        let Some(name) = name.and_then(|text| name_of(text)) else {
            continue;
        };
        if !names.insert(name.clone()) {
            again.insert(at);
            continue;
        }
        found.push(Candidate {
            at,
            tool: tool(text, before.and_then(|before| before.tools.get(&name))),
            text: text.clone(),
            name,
        });
    }
    (found, again)
}

fn tool(text: &ByteString, before: Option<&Tool>) -> Tool {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    let same = before.filter(|before| before.text == hash);
    Tool {
        text: hash,
        fingerprint: same.map_or_else(|| fingerprint(text), |same| same.fingerprint),
        inside: same.map_or_else(|| scan::definition(text).into(), |same| same.inside.clone()),
        standing: Standing::Unknown,
        alike: None,
    }
}

/// The name in a definition; `None` where it is left out of the catalog too.
fn name_of(definition: &str) -> Option<String> {
    let object = Object::parse(definition).ok()?;
    let name = object.get_str("name").filter(|name| !name.is_empty())?;
    Some(name.into_owned())
}

fn by_name(heads: Vec<PinHead>) -> HashMap<String, PinHead> {
    let heads = heads.into_iter();
    heads.map(|head| (head.tool.clone(), head)).collect()
}
