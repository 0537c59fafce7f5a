use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytestring::ByteString;
use mcp_ultra_domain::{
    Clock,
    catalog::Raw,
    pinning::{Definition, Fingerprint, Ground, Mode, PinHead, Sighting, Standing},
    ports::{PinStore, PinStoreError},
    scan::{self, Finding, FindingKind, Severity},
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    PinRules,
    alike::Names,
    examine::{self, Memory, Seen},
    report,
};
use crate::aside;

/// How many upstreams have their definitions examined at the same moment: one that takes long does
/// not hold up all others, and many at once do not take the processor from calls.
const AT_ONCE: usize = 2;

/// How long a new name that may imitate another one waits for upstreams that were not read yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// Judges the tools that upstreams offer.
pub(crate) struct Pinning {
    store: Arc<dyn PinStore>,
    clock: Arc<dyn Clock>,
    /// The tools of each upstream as they were judged last.
    judged: Mutex<HashMap<Arc<str>, Arc<Judged>>>,
    names: Arc<Names>,
    /// What need not be read again of each upstream.
    memories: Mutex<HashMap<Arc<str>, Arc<Mutex<Memory>>>>,
    examining: Semaphore,
}

/// What came of a list of definitions.
pub(crate) struct Verdict {
    /// What may be offered.
    pub offered: Raw,
    /// How many texts had to be scanned, since they were not known.
    pub scanned: usize,
    /// Upstreams that have to be judged again: their names look like others now.
    pub again: Vec<Arc<str>>,
}

/// A reading whose tools have no standing yet.
struct Examination {
    found: Vec<Candidate>,
    /// The positions of definitions that are not offered.
    left_out: HashSet<usize>,
    scanned: usize,
}

/// The tools of one upstream.
#[derive(Default)]
struct Judged {
    tools: HashMap<String, Tool>,
}

/// A tool as it was judged.
struct Tool {
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
            names: Arc::new(Names::new()),
            memories: Mutex::default(),
            examining: Semaphore::new(AT_ONCE),
        }
    }

    /// What of `raw` may be offered: all, but for tools that `rules` hold back. Of several tools of
    /// one name the first is meant, here as in the catalog. `None` when it was told to `stop`.
    pub(crate) async fn judge(
        &self,
        server: &Arc<str>,
        raw: &Raw,
        rules: &PinRules,
        stop: &CancellationToken,
    ) -> Option<Verdict> {
        let mode = rules.mode(server);
        if mode == Mode::Off {
            self.judged.lock().remove(server);
            self.memories.lock().remove(server);
            self.names.enter(server, std::iter::empty());
            return Some(Verdict {
                offered: raw.clone(),
                scanned: 0,
                again: Vec::new(),
            });
        }
        let before = self.judged.lock().get(server).cloned();
        let Examination {
            mut found,
            mut left_out,
            scanned,
        } = self.examine(server, raw, stop).await?;
        let known = before.as_deref();
        let again = self.look_for_alikes(server, known, &mut found, stop);
        let again = again.await?;
        // A server that is not kept any more offers nothing.
        if stop.is_cancelled() {
            return None;
        }
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
        {
            // With the lock, so that `keep` comes before or after both.
            let mut all = self.judged.lock();
            if stop.is_cancelled() {
                return None;
            }
            all.insert(server.clone(), judged);
        }
        let all = raw.definitions.iter().enumerate();
        let offered = all.filter(|(at, _)| !left_out.contains(at));
        Some(Verdict {
            offered: Raw {
                definitions: offered.map(|(_, one)| one.clone()).collect(),
                ..raw.without_definitions()
            },
            scanned,
            again,
        })
    }

    /// Reads the definitions, and enters their names.
    async fn examine(
        &self,
        server: &Arc<str>,
        raw: &Raw,
        stop: &CancellationToken,
    ) -> Option<Examination> {
        // It is never closed.
        let _turn = self.examining.acquire().await.ok()?;
        let memory = self
            .memories
            .lock()
            .entry(server.clone())
            .or_default()
            .clone();
        let (names, server) = (self.names.clone(), server.clone());
        let (raw, stop) = (raw.clone(), stop.clone());
        let work = aside::done(raw.size(), move || {
            let reading = examine::examine(&raw, &mut memory.lock(), &stop)?;
            names.enter(&server, reading.seen.iter().map(|one| &*one.name));
            let found: Vec<_> = reading.seen.into_iter().map(Candidate::new).collect();
            Some(Examination {
                found,
                left_out: reading.again,
                scanned: reading.scanned,
            })
        });
        work.await.flatten()
    }

    /// Finds the names that look like those of other upstreams. Returns the upstreams that have to be
    /// judged again, since their names look like others now.
    async fn look_for_alikes(
        &self,
        server: &Arc<str>,
        before: Option<&Judged>,
        found: &mut [Candidate],
        stop: &CancellationToken,
    ) -> Option<Vec<Arc<str>>> {
        let is_new = |name: &str| before.is_none_or(|all| !all.tools.contains_key(name));
        let mut names = found.iter().map(|one| &*one.name);
        // First sight is not to agree to an imitation that is there before what it imitates.
        if names.any(|name| scan::may_imitate(name) && is_new(name)) {
            let complete = tokio::time::timeout(PATIENCE, self.names.complete());
            if stop.run_until_cancelled(complete).await?.is_err() {
                tracing::warn!(upstream = %server, "names with letters that look like Latin ones are judged before all servers could be read; whether they look like those of a server that comes later is reported then");
            }
        }
        // It is never closed.
        let _turn = self.examining.acquire().await.ok()?;
        let (view, own) = (self.names.view(), server.clone());
        let work = aside::done(view.size(), move || view.alikes(&own));
        let mut alikes = work.await?;
        for one in found {
            one.tool.alike = alikes.own.remove(&one.name);
        }
        let judged = self.judged.lock();
        Some(alikes.unknown(|server, name| {
            let tool = judged.get(server).and_then(|all| all.tools.get(name));
            tool.is_some_and(|tool| tool.alike.is_some())
        }))
    }

    /// How the tools of each upstream are.
    pub(crate) fn tallies(&self) -> Vec<(Arc<str>, Tally)> {
        let judged = self.judged.lock();
        let servers = judged.iter();
        servers
            .map(|(name, one)| (name.clone(), one.tally()))
            .collect()
    }

    /// Forgets the upstreams that are not among these, which are in the order of the configuration.
    pub(crate) fn keep(&self, servers: &[&str]) {
        self.names.keep(servers);
        let servers: HashSet<&str> = servers.iter().copied().collect();
        let is_kept = |name: &str| servers.contains(name);
        self.judged.lock().retain(|name, _| is_kept(name));
        self.memories.lock().retain(|name, _| is_kept(name));
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

    /// Notes that only these servers are read, and forgets the tools that have been gone for longer
    /// than `limit`, where there is one.
    pub(crate) async fn forget_gone(&self, servers: &[String], limit: Option<Duration>) {
        let now = self.clock.now();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let forgotten = async {
            self.store.only(&servers, now).await?;
            match limit {
                Some(limit) => self.store.forget_gone(now.saturating_sub(limit)).await,
                None => Ok(0),
            }
        };
        match forgotten.await {
            Ok(0) => {}
            Ok(tools) => tracing::info!(tools, "tools that have been gone for long were forgotten"),
            Err(error) => tracing::warn!(%error, "tools that are gone could not be forgotten"),
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
    /// One without a standing.
    fn new(seen: Seen) -> Self {
        Self {
            at: seen.at,
            name: seen.name,
            text: seen.text,
            tool: Tool {
                fingerprint: seen.examined.fingerprint,
                inside: seen.examined.findings,
                standing: Standing::Unknown,
                alike: None,
            },
        }
    }

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

fn by_name(heads: Vec<PinHead>) -> HashMap<String, PinHead> {
    let heads = heads.into_iter();
    heads.map(|head| (head.tool.clone(), head)).collect()
}
