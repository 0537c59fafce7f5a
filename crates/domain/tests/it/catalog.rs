//! The merged catalog, for any offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mcp_ultra_domain::catalog::{Catalog, Kind, Labels, Offer, Raw, Source, State};
use mcp_ultra_protocol::names::Naming;
use proptest::prelude::*;

/// The tools of some upstreams: few names, so that they collide.
fn offers() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(0_u8..12, 0..8), 0..5)
}

fn source(index: usize, tools: &[u8]) -> Source {
    let raw = Raw {
        definitions: tools
            .iter()
            .map(|tool| {
                (
                    Kind::Tool,
                    format!(r#"{{"name":"t{tool}","of":{index}}}"#).into(),
                )
            })
            .collect(),
        ..Raw::default()
    };
    let (offer, unusable) = Offer::new(&raw, &Naming::identity(), &Labels::default());
    assert!(unusable.is_empty());
    Source {
        name: format!("s{index}").into(),
        state: State::Ready,
        offer: Some(Arc::new(offer)),
    }
}

fn sources(offers: &[Vec<u8>]) -> Vec<Source> {
    let indexed = offers.iter().enumerate();
    indexed.map(|(index, tools)| source(index, tools)).collect()
}

/// Which upstream has each name.
fn owners(catalog: &Catalog) -> BTreeMap<String, String> {
    let items = catalog.items(Kind::Tool).iter();
    items
        .map(|listed| {
            let owner = catalog.sources()[listed.source].name.to_string();
            (listed.item.public.to_string(), owner)
        })
        .collect()
}

/// The elements of all pages, one after the other as a client reads them.
fn pages(catalog: &Catalog) -> Vec<String> {
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = catalog.page(Kind::Tool, after.as_deref()).unwrap();
        let list = format!("[{}]", page.modern);
        let elements: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
        assert_eq!(elements.len(), page.len);
        read.extend(elements.iter().map(ToString::to_string));
        match &page.next {
            Some(next) => after = Some(next.to_string()),
            None => return read,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_name_is_listed_once_and_the_rest_is_reported(offers in offers(), size in 0_usize..6) {
        let catalog = Catalog::merge(sources(&offers), None, size);
        let listed = catalog.items(Kind::Tool);
        let offered: BTreeSet<String> =
            offers.iter().flatten().map(|tool| format!("t{tool}")).collect();
        prop_assert!(owners(&catalog).keys().eq(&offered));
        prop_assert_eq!(listed.len(), offered.len());
        let all: usize = offers.iter().map(Vec::len).sum();
        prop_assert_eq!(catalog.hidden().len(), all - listed.len());
        for entry in listed {
            let found = catalog.find(Kind::Tool, &entry.item.public).unwrap();
            prop_assert!(Arc::ptr_eq(&found.item, &entry.item));
        }
        for hidden in catalog.hidden() {
            let owner = catalog.find(Kind::Tool, &hidden.public).unwrap().source;
            prop_assert_eq!(&catalog.sources()[owner].name, &hidden.owner);
        }
    }

    #[test]
    fn pages_hold_the_whole_list_in_its_order(offers in offers(), size in 0_usize..6) {
        let catalog = Catalog::merge(sources(&offers), None, size);
        let listed = catalog.items(Kind::Tool).iter();
        let expected: Vec<String> = listed.map(|entry| entry.item.modern.to_string()).collect();
        prop_assert_eq!(pages(&catalog), expected);
    }

    #[test]
    fn who_has_a_name_keeps_it_for_as_long_as_it_is_offered(
        before in offers(),
        now in offers(),
        page in 1_usize..4,
    ) {
        let first = Catalog::merge(sources(&before), None, page);
        let second = Catalog::merge(sources(&now), Some(&first), page);
        let had = owners(&first);
        for (name, owner) in owners(&second) {
            let Some(old) = had.get(&name) else { continue };
            let still_offers = second.sources().iter().any(|source| {
                let offer = source.offer.as_ref().unwrap();
                *source.name == **old
                    && offer.items(Kind::Tool).iter().any(|item| *item.public == *name)
            });
            prop_assert!(!still_offers || owner == *old, "{} went from {} to {}", name, old, owner);
        }
        let again = Catalog::merge(sources(&now), Some(&second), page);
        prop_assert_eq!(owners(&again), owners(&second));
        prop_assert!(!again.differs(&second, Kind::Tool));
    }
}
