//! What the others have yet to be told is outdated: the store that gateways share, and they themselves.
//! Nobody waits for that. What is outdated again and again meanwhile is told once.

use std::{collections::HashMap, sync::Arc};

use mcp_ultra_domain::cache::Outdated;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Tags;

/// So many things may be untold. Beyond, all that is kept of a server is outdated.
const MOST: usize = 4096;

/// What is outdated of which server's answers.
pub(crate) type Told = (Arc<str>, Outdated);

#[derive(Default)]
pub(crate) struct Others {
    untold: Mutex<HashMap<Told, Times>>,
    noted: Notify,
}

/// How often something was outdated while nobody knew.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    noted: u64,
    /// As many of these as the gateways have heard of already. They hear of it again once the store knows.
    announced: u64,
}

/// All that there was to tell at one time.
pub(crate) struct News(Vec<(Told, u64)>);

impl Others {
    /// Notes something. From here on nothing that it is about is taken from the store.
    pub(crate) fn note(&self, server: &Arc<str>, what: Outdated) {
        let mut untold = self.untold.lock();
        let mut key = (server.clone(), what);
        if untold.len() >= MOST && !untold.contains_key(&key) {
            untold.retain(|(name, _), _| name != server);
            key.1 = Outdated::All;
        }
        untold.entry(key).or_default().noted += 1;
        drop(untold);
        self.noted.notify_one();
    }

    /// Completes when there is something to tell.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// Whether something is to be told that answers with one of these tags are outdated by.
    pub(super) fn have_yet_to_know(&self, server: &str, tags: &Tags) -> bool {
        let untold = self.untold.lock();
        let mut of_server = untold.keys().filter(|(name, _)| **name == *server);
        of_server.any(|(_, what)| what.tags().any(|tag| tags.contains(&Some(tag))))
    }

    /// What there is to tell.
    pub(crate) fn news(&self) -> News {
        let untold = self.untold.lock();
        let all = untold
            .iter()
            .map(|(what, times)| (what.clone(), times.noted));
        News(all.collect())
    }

    /// The store knows now what was to be told of the servers for which `knows` is true. Returns what the
    /// gateways are to be told, and whether the store knows everything.
    pub(crate) fn told(&self, news: News, knows: impl Fn(&str) -> bool) -> (Vec<Told>, bool) {
        let mut untold = self.untold.lock();
        let mut announce = Vec::new();
        for (what, noted) in news.0 {
            // It has become all of its server's meanwhile.
            let Some(times) = untold.get_mut(&what) else {
                continue;
            };
            let knows = knows(&what.0);
            if knows && times.noted == noted {
                untold.remove(&what);
            } else if !knows && times.announced == noted {
                continue;
            } else {
                times.announced = noted;
            }
            announce.push(what);
        }
        (announce, untold.is_empty())
    }
}

impl News {
    /// By server.
    pub(crate) fn by_server(&self) -> HashMap<Arc<str>, Vec<Outdated>> {
        let mut servers: HashMap<_, Vec<_>> = HashMap::new();
        for ((server, what), _) in &self.0 {
            servers.entry(server.clone()).or_default().push(*what);
        }
        servers
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::cache::{Kind, Tag};

    use super::*;

    const TAGS: Tags = [
        Some(Tag::Kind(Kind::Tool)),
        None,
        Some(Tag::Tenant(1)),
        Some(Tag::Subject(2)),
        Some(Tag::Common(1)),
    ];

    #[test]
    fn what_is_not_about_an_answer_does_not_keep_it_back() {
        let others = Others::default();
        let (a, b) = ("a".into(), "b".into());
        for (server, what, about) in [
            (&b, Outdated::All, false),
            (&a, Outdated::Tagged(Tag::Subject(3)), false),
            (&a, Outdated::Tagged(Tag::Tenant(2)), false),
            (
                &a,
                Outdated::Written {
                    subject: 3,
                    tenant: 2,
                },
                false,
            ),
            (
                &a,
                Outdated::Written {
                    subject: 2,
                    tenant: 2,
                },
                true,
            ),
        ] {
            others.note(server, what);
            assert_eq!(others.have_yet_to_know("a", &TAGS), about, "{what}");
        }
    }

    #[test]
    fn what_is_outdated_while_it_is_told_is_told_again() {
        let others = Others::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let tell = |knows: &dyn Fn(&str) -> bool| {
            let (announce, all) = others.told(others.news(), knows);
            (announce.len(), all)
        };
        others.note(&a, Outdated::All);
        others.note(&b, Outdated::All);
        let news = others.news();
        assert_eq!(news.by_server().len(), 2);
        others.note(&a, Outdated::All);
        let (announce, all) = others.told(news, |_| true);
        assert_eq!((announce.len(), all), (2, false));
        // Gateways hear of it at once, and again when the store knows.
        assert_eq!(tell(&|_| false), (1, false));
        assert_eq!(tell(&|_| false), (0, false));
        others.note(&b, Outdated::All);
        assert_eq!(tell(&|name| name == "b"), (1, false));
        assert_eq!(tell(&|_| true), (1, true));
        assert_eq!(tell(&|_| true), (0, true));
    }

    #[test]
    fn what_is_untold_is_bounded() {
        let others = Others::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        others.note(&b, Outdated::All);
        for number in 0..2 * MOST {
            let number = u16::try_from(number).unwrap();
            let what = Outdated::Written {
                subject: number,
                tenant: 0,
            };
            others.note(&a, what);
            assert!(others.untold.lock().len() <= MOST);
        }
        let news = others.news().by_server();
        assert!(news[&a].contains(&Outdated::All) && news[&b] == [Outdated::All]);
    }
}
