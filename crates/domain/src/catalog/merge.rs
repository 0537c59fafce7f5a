use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use bytestring::ByteString;

use super::{
    item::{Item, Kind},
    offer::Offer,
    page::{Page, paginate},
};

/// How an upstream is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not asked yet.
    Pending,
    /// Its lists are current.
    Ready,
    /// It failed; what it offered last is still listed.
    Unavailable {
        /// What failed, for operators. Holds no secret.
        reason: String,
        /// What an operator can do, where that is known. Names nothing.
        remedy: Option<&'static str>,
    },
}

/// One upstream on its way into the catalog.
#[derive(Debug, Clone)]
pub struct Source {
    /// The upstream's name in the configuration.
    pub name: Arc<str>,
    /// How it is doing.
    pub state: State,
    /// What it offers; `None` until it was first asked with success.
    pub offer: Option<Arc<Offer>>,
}

/// A listed item and where it comes from.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The item.
    pub item: Arc<Item>,
    /// The position of its upstream in [`Catalog::sources`].
    pub source: usize,
}

/// An item that is not listed because its public name belongs to another upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// What it is.
    pub kind: Kind,
    /// The public name.
    pub public: ByteString,
    /// The upstream whose item is hidden.
    pub upstream: Arc<str>,
    /// The upstream that has the name.
    pub owner: Arc<str>,
}

/// Everything that is offered, under public names.
#[derive(Debug, Default)]
pub struct Catalog {
    sources: Vec<Source>,
    lists: [List; 4],
    hidden: Vec<Hidden>,
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Listed>,
    by_name: HashMap<ByteString, usize>,
    pages: Vec<Page>,
    digest: u64,
}

impl Catalog {
    /// Puts the offers together, in the order of `sources` and within one in its own order.
    ///
    /// Where two upstreams offer the same public name, the one that had it in `before` keeps it;
    /// without such a one, the first in the order of `sources`. The other is hidden and reported.
    pub fn merge(sources: Vec<Source>, before: Option<&Catalog>, page_size: usize) -> Self {
        let mut lists: [List; 4] = Default::default();
        let mut hidden = Vec::new();
        for kind in Kind::ALL {
            let owners = owners(kind, &sources, before);
            let list = &mut lists[kind as usize];
            for (source, upstream) in sources.iter().enumerate() {
                let Some(offer) = &upstream.offer else {
                    continue;
                };
                for item in offer.items(kind) {
                    let listed = list.by_name.get(&item.public);
                    let owner = match listed {
                        Some(at) => list.entries[*at].source,
                        None => owners.get(&item.public).copied().unwrap_or(source),
                    };
                    if owner != source || listed.is_some() {
                        hidden.push(Hidden {
                            kind,
                            public: item.public.clone(),
                            upstream: upstream.name.clone(),
                            owner: sources[owner].name.clone(),
                        });
                        continue;
                    }
                    list.by_name.insert(item.public.clone(), list.entries.len());
                    list.entries.push(Listed {
                        item: item.clone(),
                        source,
                    });
                }
            }
            list.pages = paginate(&list.entries, page_size);
            let mut hasher = DefaultHasher::new();
            for listed in &list.entries {
                hasher.write_u64(listed.item.digest);
            }
            list.digest = hasher.finish();
        }
        Self {
            sources,
            lists,
            hidden,
        }
    }

    /// The upstreams, in the order of the configuration.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What is hidden behind another upstream's name.
    pub fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// All items of `kind`, in order.
    pub fn items(&self, kind: Kind) -> &[Listed] {
        &self.lists[kind as usize].entries
    }

    /// The item of `kind` with the public name.
    pub fn find(&self, kind: Kind, public: &str) -> Option<&Listed> {
        let list = &self.lists[kind as usize];
        list.by_name.get(public).map(|at| &list.entries[*at])
    }

    /// The position of the item of `kind` with the public name, in [`Catalog::items`].
    pub fn position(&self, kind: Kind, public: &str) -> Option<usize> {
        self.lists[kind as usize].by_name.get(public).copied()
    }

    /// The page that follows the item named `after`, or the first one; `None` where no item has
    /// that name.
    pub fn page(&self, kind: Kind, after: Option<&str>) -> Option<&Page> {
        let list = &self.lists[kind as usize];
        let Some(after) = after else {
            return list.pages.first();
        };
        let at = *list.by_name.get(after)?;
        list.pages.iter().find(|page| page.first == at + 1)
    }

    /// The least `ttlMs` of all parts; `None` where a part gave none, and the whole is good for as
    /// long as nobody knows.
    pub fn ttl_ms(&self) -> Option<u64> {
        self.offers()
            .map(|offer| offer.ttl_ms)
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .min()
    }

    /// Whether any part is private.
    pub fn is_private(&self) -> bool {
        self.offers().any(|offer| offer.private)
    }

    /// The offers that are known.
    pub fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.sources
            .iter()
            .filter_map(|source| source.offer.as_ref())
    }

    /// What tells the list of `kind` from another one, in this process.
    pub fn digest(&self, kind: Kind) -> u64 {
        self.lists[kind as usize].digest
    }

    /// Whether the items of `kind` differ from those of `other` in name, definition or order.
    pub fn differs(&self, other: &Self, kind: Kind) -> bool {
        let (a, b) = (self.items(kind), other.items(kind));
        a.len() != b.len()
            || a.iter()
                .zip(b)
                .any(|(a, b)| !Arc::ptr_eq(&a.item, &b.item) && a.item.modern != b.item.modern)
    }
}

/// Which source has each public name that several offer, where that is not simply the first.
fn owners(kind: Kind, sources: &[Source], before: Option<&Catalog>) -> HashMap<ByteString, usize> {
    let Some(before) = before else {
        return HashMap::new();
    };
    let mut owners = HashMap::new();
    for (at, source) in sources.iter().enumerate() {
        let Some(offer) = &source.offer else { continue };
        for item in offer.items(kind) {
            let had = before
                .find(kind, &item.public)
                .is_some_and(|listed| before.sources[listed.source].name == source.name);
            if had {
                owners.insert(item.public.clone(), at);
            } else {
                owners.entry(item.public.clone()).or_insert(at);
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use mcp_ultra_protocol::names::Naming;

    use super::*;
    use crate::catalog::{Labels, Raw};

    fn source(name: &str, tools: &[&str]) -> Source {
        let raw = Raw {
            capabilities: r#"{"tools":{}}"#.into(),
            definitions: tools
                .iter()
                .map(|tool| (Kind::Tool, format!(r#"{{"name":"{tool}"}}"#).into()))
                .collect(),
            ..Raw::default()
        };
        let (offer, unusable) = Offer::new(&raw, &Naming::identity(), &Labels::default());
        assert!(unusable.is_empty());
        Source {
            name: name.into(),
            state: State::Ready,
            offer: Some(Arc::new(offer)),
        }
    }

    fn names(catalog: &Catalog) -> Vec<(&str, &str)> {
        catalog
            .items(Kind::Tool)
            .iter()
            .map(|listed| (&*listed.item.public, &*catalog.sources[listed.source].name))
            .collect()
    }

    #[test]
    fn order_is_that_of_the_configuration() {
        let catalog = Catalog::merge(
            vec![source("b", &["z", "y"]), source("a", &["x"])],
            None,
            10,
        );
        assert_eq!(names(&catalog), [("z", "b"), ("y", "b"), ("x", "a")]);
    }

    #[test]
    fn the_first_owner_keeps_a_name() {
        let first = Catalog::merge(vec![source("a", &["x"]), source("b", &["y"])], None, 10);
        let second = Catalog::merge(
            vec![source("a", &["x", "y"]), source("b", &["y"])],
            Some(&first),
            10,
        );
        assert_eq!(names(&second), [("x", "a"), ("y", "b")]);
        assert_eq!(second.hidden().len(), 1);
        assert_eq!(
            (&*second.hidden()[0].upstream, &*second.hidden()[0].owner),
            ("a", "b")
        );

        let fresh = Catalog::merge(
            vec![source("a", &["x", "y"]), source("b", &["y"])],
            None,
            10,
        );
        assert_eq!(names(&fresh), [("x", "a"), ("y", "a")]);
        assert_eq!(
            (&*fresh.hidden()[0].upstream, &*fresh.hidden()[0].owner),
            ("b", "a")
        );
    }

    #[test]
    fn one_upstream_that_lists_a_name_twice_is_listed_once() {
        let catalog = Catalog::merge(vec![source("a", &["x", "x"])], None, 10);
        assert_eq!(names(&catalog), [("x", "a")]);
        assert_eq!(catalog.hidden().len(), 1);
    }

    #[test]
    fn pages_follow_each_other_by_name() {
        let catalog = Catalog::merge(vec![source("a", &["1", "2", "3", "4", "5"])], None, 2);
        let mut after = None;
        let mut sizes = Vec::new();
        loop {
            let page = catalog.page(Kind::Tool, after.as_deref()).unwrap();
            sizes.push(page.len);
            let Some(next) = &page.next else { break };
            after = Some(next.to_string());
        }
        assert_eq!(sizes, [2, 2, 1]);
        assert!(catalog.page(Kind::Tool, Some("gone")).is_none());
        assert_eq!(catalog.page(Kind::Prompt, None).unwrap().len, 0);
    }

    #[test]
    fn the_whole_is_fresh_for_as_long_as_its_least_fresh_part() {
        let with_ttl = |name: &str, ttl_ms| {
            let mut source = source(name, &["x"]);
            let mut offer = source.offer.as_deref().cloned().unwrap();
            offer.ttl_ms = ttl_ms;
            source.offer = Some(Arc::new(offer));
            source
        };
        let ttl = |sources| Catalog::merge(sources, None, 10).ttl_ms();
        assert_eq!(
            ttl(vec![with_ttl("a", Some(9)), with_ttl("b", Some(5))]),
            Some(5)
        );
        assert_eq!(ttl(vec![with_ttl("a", Some(9)), with_ttl("b", None)]), None);
        assert_eq!(ttl(vec![]), None);
    }

    #[test]
    fn a_change_is_told_from_none() {
        let a = Catalog::merge(vec![source("a", &["x"])], None, 10);
        let same = Catalog::merge(vec![source("a", &["x"])], None, 10);
        let other = Catalog::merge(vec![source("a", &["x", "y"])], None, 10);
        assert!(!a.differs(&same, Kind::Tool));
        assert!(a.differs(&other, Kind::Tool));
        assert!(!a.differs(&other, Kind::Prompt));
    }
}
