//! Names of tools that look like those of other servers.
//!
//! Which of two names is the imitation does not depend on which server answers first: a name with
//! letters beyond ASCII comes after one without; then counts since when it is there, where all that
//! the servers of one configuration offer at first is there at the same time; then the order of the
//! servers in the configuration. A server enters its names before it looks at those of others, so
//! that of two that come together one sees the other.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mcp_ultra_domain::scan::{self, Finding};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The names of the tools of all servers.
pub(super) struct Names {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// In the order of the configuration.
    servers: Vec<Server>,
    /// Grows with each change, so that what comes later has a larger number.
    age: u64,
}

#[derive(Clone)]
struct Server {
    name: Arc<str>,
    since: u64,
    /// Each tool and since when it is there; `None` until the server was read.
    tools: Option<Arc<[(String, u64)]>>,
}

/// The names as they are at one moment.
pub(super) struct View {
    servers: Vec<Server>,
}

/// What looks like something else.
#[derive(Default)]
pub(super) struct Alikes {
    /// Tools of the server that is looked at, and what is found in their names.
    pub own: HashMap<String, Finding>,
    /// Those of others, and whose they are.
    pub others: Vec<(Arc<str>, String)>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// These are the servers from now on, in the order of the configuration.
    pub(super) fn keep(&self, servers: &[&str]) {
        let mut state = self.state.lock();
        let since = state.age;
        let mut before: HashMap<Arc<str>, Server> = std::mem::take(&mut state.servers)
            .into_iter()
            .map(|one| (one.name.clone(), one))
            .collect();
        let servers = servers.iter().map(|&name| {
            before.remove(name).unwrap_or_else(|| Server {
                name: name.into(),
                since,
                tools: None,
            })
        });
        state.servers = servers.collect();
        state.age += 1;
        drop(state);
        self.changed.send_replace(());
    }

    /// These are the tools of a server from now on. Nothing changes where it is none of those that
    /// are kept.
    pub(super) fn enter<'n>(&self, server: &str, tools: impl Iterator<Item = &'n str>) {
        let mut state = self.state.lock();
        let age = state.age;
        let Some(one) = state.servers.iter_mut().find(|one| &*one.name == server) else {
            return;
        };
        let before = one.tools.take();
        let before: Option<HashMap<&str, u64>> = before.as_ref().map(|before| {
            before
                .iter()
                .map(|(name, since)| (&**name, *since))
                .collect()
        });
        let first = one.since;
        let since = |name: &str| match &before {
            None => first,
            Some(before) => before.get(name).copied().unwrap_or(age),
        };
        one.tools = Some(tools.map(|name| (name.to_owned(), since(name))).collect());
        state.age += 1;
        drop(state);
        self.changed.send_replace(());
    }

    /// Waits until each server was read once.
    pub(super) async fn complete(&self) {
        let mut changed = self.changed.subscribe();
        let is_complete = || {
            self.state
                .lock()
                .servers
                .iter()
                .all(|one| one.tools.is_some())
        };
        while !is_complete() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn view(&self) -> View {
        View {
            servers: self.state.lock().servers.clone(),
        }
    }
}

impl View {
    /// The bytes of all names.
    pub(super) fn size(&self) -> usize {
        let tools = self.servers.iter().filter_map(|one| one.tools.as_ref());
        tools
            .flat_map(|tools| tools.iter())
            .map(|(name, _)| name.len())
            .sum()
    }

    /// What looks like something else, seen from `server`.
    pub(super) fn alikes(&self, server: &str) -> Alikes {
        let servers = self.servers.iter().enumerate();
        let mut all: Vec<_> = servers
            .flat_map(|(at, one)| {
                let tools = one.tools.iter().flat_map(|tools| tools.iter()).enumerate();
                tools.map(move |(place, (name, since))| {
                    ((!name.is_ascii(), *since, at, place), &**name)
                })
            })
            .collect();
        all.sort_unstable_by_key(|(order, _)| *order);
        let names: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
        let mut alikes = Alikes::default();
        for (index, finding) in scan::look_alikes(&names) {
            let ((_, _, at, _), name) = all[index];
            let of = &self.servers[at].name;
            if **of == *server {
                alikes.own.insert(name.to_owned(), finding);
            } else {
                alikes.others.push((of.clone(), name.to_owned()));
            }
        }
        let own = self.servers.iter().find(|one| &*one.name == server);
        let own = own.and_then(|one| one.tools.as_ref());
        for (name, _) in own.iter().flat_map(|tools| tools.iter()) {
            if let Some(finding) = scan::mixed_scripts(name) {
                alikes.own.entry(name.clone()).or_insert(finding);
            }
        }
        alikes
    }
}

impl Alikes {
    /// The other servers in whose names something is found that is not `known` yet.
    pub(super) fn unknown(&self, known: impl Fn(&str, &str) -> bool) -> Vec<Arc<str>> {
        let unknown = self.others.iter().filter(|(of, name)| !known(of, name));
        let servers: HashSet<_> = unknown.map(|(of, _)| of.clone()).collect();
        servers.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_ultra_domain::scan::Severity;

    use super::*;

    const FOREIGN: &str = "сору"; // all of it is Cyrillic

    fn names(servers: &[&str]) -> Names {
        let names = Names::new();
        names.keep(servers);
        names
    }

    /// What is found of each server, in the order of the configuration.
    fn found(names: &Names) -> Vec<(String, String, Severity)> {
        let view = names.view();
        let mut found = Vec::new();
        for server in &view.servers {
            let alikes = view.alikes(&server.name);
            for (name, finding) in alikes.own {
                found.push((server.name.to_string(), name, finding.severity));
            }
        }
        found.sort();
        found
    }

    fn one(server: &str, name: &str, severity: Severity) -> Vec<(String, String, Severity)> {
        vec![(server.to_owned(), name.to_owned(), severity)]
    }

    #[test]
    fn who_answers_first_does_not_decide() {
        for order in [["a", "b"], ["b", "a"]] {
            // Letters of another script, wherever they stand.
            let names = names(&order);
            for answers in [
                [("a", "copy"), ("b", FOREIGN)],
                [("b", FOREIGN), ("a", "copy")],
            ] {
                for (server, name) in answers {
                    names.enter(server, [name].into_iter());
                }
                assert_eq!(found(&names), one("b", FOREIGN, Severity::High));
            }
        }
        for answers in [["a", "b"], ["b", "a"]] {
            let names = names(&["a", "b"]);
            for server in answers {
                let name = if server == "a" {
                    "send_mail"
                } else {
                    "SendMail"
                };
                names.enter(server, [name].into_iter());
            }
            assert_eq!(found(&names), one("b", "SendMail", Severity::Medium));
        }
    }

    #[test]
    fn what_comes_later_is_the_newcomer() {
        let names = names(&["a", "b"]);
        names.enter("a", ["list"].into_iter());
        names.enter("b", ["send_mail"].into_iter());
        names.enter("a", ["list", "SendMail"].into_iter());
        assert_eq!(found(&names), one("a", "SendMail", Severity::Medium));
        // It stays so when they are read again, and after a reload.
        names.enter("b", ["send_mail"].into_iter());
        names.keep(&["b", "a"]);
        names.enter("a", ["SendMail", "list"].into_iter());
        assert_eq!(found(&names), one("a", "SendMail", Severity::Medium));
        // So is what a new server offers, before the others or not.
        names.enter("a", ["list"].into_iter());
        names.keep(&["c", "a", "b"]);
        names.enter("c", ["sendMail"].into_iter());
        assert_eq!(found(&names), one("c", "sendMail", Severity::Medium));
        names.keep(&["a", "b"]);
        names.enter("c", ["sendMail"].into_iter());
        assert_eq!(found(&names), []);
    }

    #[test]
    fn servers_that_are_to_look_again_are_named() {
        let names = names(&["a", "b"]);
        names.enter("b", [FOREIGN, "other"].into_iter());
        names.enter("a", ["copy"].into_iter());
        let alikes = names.view().alikes("a");
        assert!(alikes.own.is_empty());
        assert_eq!(alikes.unknown(|_, _| false), ["b".into()]);
        let known = |server: &str, name: &str| (server, name) == ("b", FOREIGN);
        assert!(alikes.unknown(known).is_empty());
    }

    #[tokio::test]
    async fn all_are_waited_for() {
        let names = names(&["a", "b", "c"]);
        names.enter("a", [FOREIGN].into_iter());
        let is_complete = async || {
            let soon = Duration::from_millis(20);
            tokio::time::timeout(soon, names.complete()).await.is_ok()
        };
        assert!(!is_complete().await);
        let (last, ()) = tokio::join!(names.complete(), async {
            tokio::task::yield_now().await;
            names.enter("b", std::iter::empty());
            // One that is not configured any more is not waited for.
            names.keep(&["a", "b"]);
        });
        assert_eq!(last, ());
        assert!(is_complete().await);
    }
}
