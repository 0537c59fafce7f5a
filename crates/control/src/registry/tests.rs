use std::{sync::Mutex as Lock, time::Duration};

use mcp_ultra_domain::{ManualClock, policy::Source, ports::MemoryRegistryStore};

use super::*;

/// A gateway that refuses the text `bad`, and whose file has the server `files`.
#[derive(Default)]
struct Gateway {
    changed: Lock<Vec<u64>>,
    /// Is put by somebody else while a change is checked, once.
    meanwhile: Lock<Option<(Arc<MemoryRegistryStore>, Change)>>,
}

#[async_trait]
impl Running for Gateway {
    fn of_file(&self, kind: Kind) -> Vec<FileEntry> {
        vec![FileEntry {
            kind,
            name: "files".into(),
            place: "c.yaml:3".into(),
        }]
    }

    async fn check(
        &self,
        candidate: registry::Registry,
    ) -> Result<Option<Arc<Policies>>, Vec<Fault>> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some((store, change)) = meanwhile {
            let on = store.revision().await.unwrap();
            store.apply(on, &change).await.unwrap();
        }
        let bad = candidate.entries.iter().filter(|entry| entry.text == "bad");
        let faults: Vec<Fault> = bad
            .map(|entry| Fault {
                place: entry.place(),
                line: 2,
                column: 5,
                message: "it is bad".into(),
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let policies = candidate.of(Kind::Policy).map(|entry| Source {
            name: format!("{}.cedar", entry.name),
            text: entry.text.clone(),
        });
        let policies: Vec<Source> = policies.collect();
        let compiled = Policies::compile(&policies, None).unwrap();
        Ok((!policies.is_empty()).then(|| Arc::new(compiled)))
    }

    async fn changed(&self, revision: u64) {
        self.changed.lock().unwrap().push(revision);
    }
}

fn desk() -> (Registry, Arc<Gateway>, Arc<MemoryRegistryStore>) {
    let (store, gateway) = (Arc::new(MemoryRegistryStore::default()), Arc::default());
    let clock = Arc::new(ManualClock::at(Duration::from_hours(1)));
    let parts: (Arc<dyn RegistryStore>, Arc<dyn Running>) =
        (store.clone(), Arc::clone(&gateway) as Arc<dyn Running>);
    (Registry::new(Some(parts), clock), gateway, store)
}

fn server<'w>(name: &'w str, text: Option<&'w str>) -> Wanted<'w> {
    Wanted {
        kind: Kind::Server,
        name,
        text,
        by: "olga",
        dry_run: false,
    }
}

/// Whatever is there is meant, or nothing; whoever wants it may do it as long as there are no more
/// than so many policies.
struct Anybody {
    only_new: bool,
    most_policies: usize,
}

impl Meant<RegistryError> for Anybody {
    fn check(&self, there: Option<&Entry>) -> Result<(), RegistryError> {
        match there {
            Some(_) if self.only_new => Err(RegistryError::NotFound),
            _ => Ok(()),
        }
    }

    fn may_still(&self, policies: &Policies) -> bool {
        policies.len() <= self.most_policies
    }
}

const ANYBODY: Anybody = Anybody {
    only_new: false,
    most_policies: 1,
};

async fn change(desk: &Registry, wanted: Wanted<'_>) -> Result<EntryView, RegistryError> {
    desk.change(wanted, &ANYBODY).await
}

#[tokio::test]
async fn what_is_put_is_told_and_what_is_the_same_is_not() {
    let (desk, gateway, _) = desk();
    let put = change(&desk, server("crm", Some("one"))).await.unwrap();
    assert_eq!((&*put.source, put.revision), ("registry", Some(1)));
    let again = change(&desk, server("crm", Some("one"))).await.unwrap();
    assert_eq!(again, put);
    let dry = Wanted {
        dry_run: true,
        ..server("crm", Some("two"))
    };
    assert_eq!(change(&desk, dry).await.unwrap().revision, Some(2));
    assert_eq!(desk.get(Kind::Server, "crm").await.unwrap(), put);
    change(&desk, server("crm", None)).await.unwrap();
    let gone = change(&desk, server("crm", None)).await;
    assert_eq!(gone, Err(RegistryError::NotFound));
    assert_eq!(*gateway.changed.lock().unwrap(), [1, 2]);
    let history = desk.history(Kind::Server, "crm").await.unwrap();
    let texts: Vec<_> = history.iter().map(|past| past.text.as_deref()).collect();
    assert_eq!(texts, [None, Some("one")]);
    assert_eq!(
        desk.history(Kind::Server, "other").await,
        Err(RegistryError::NotFound)
    );
}

#[tokio::test]
async fn what_can_not_be_is_refused_and_nothing_changes() {
    let (desk, gateway, store) = desk();
    let bad = change(&desk, server("crm", Some("bad"))).await;
    let said = "line 2, column 5: it is bad".to_owned();
    assert_eq!(bad, Err(RegistryError::Refused(said)));
    let taken = change(&desk, server("files", Some("x"))).await;
    assert_eq!(taken, Err(RegistryError::InFile("c.yaml:3".into())));
    for name in ["", ".x", "a b", "a/b", &"a".repeat(129)] {
        let refused = change(&desk, server(name, Some("x"))).await;
        assert!(matches!(refused, Err(RegistryError::Name(_))), "{name}");
    }
    let long = "x".repeat(LONGEST_TEXT + 1);
    let refused = change(&desk, server("crm", Some(&long))).await;
    assert!(matches!(refused, Err(RegistryError::TooMuch(_))));
    assert_eq!(store.revision().await, Ok(0));
    assert!(gateway.changed.lock().unwrap().is_empty());
    let off = Registry::new(None, Arc::new(ManualClock::at(Duration::ZERO)));
    assert_eq!(off.list(Kind::Flag).await, Err(RegistryError::Off));
}

#[tokio::test]
async fn nobody_shuts_themselves_out() {
    let (desk, _, store) = desk();
    let policy = |name| Wanted {
        kind: Kind::Policy,
        ..server(name, Some("permit(principal, action, resource);"))
    };
    change(&desk, policy("one")).await.unwrap();
    let refused = change(&desk, policy("two")).await;
    assert_eq!(refused, Err(RegistryError::ShutsOut));
    assert_eq!(store.revision().await, Ok(1));
}

#[tokio::test]
async fn a_change_is_checked_again_with_what_others_have_changed_meanwhile() {
    let (desk, gateway, store) = desk();
    let other = |text: &str| Change {
        kind: Kind::Server,
        name: "crm".into(),
        text: Some(text.into()),
        by: "bea".into(),
        at: Duration::ZERO,
    };
    *gateway.meanwhile.lock().unwrap() = Some((store.clone(), other("two")));
    let only_new = Anybody {
        only_new: true,
        ..ANYBODY
    };
    let refused = desk.change(server("crm", Some("one")), &only_new).await;
    assert_eq!(refused, Err(RegistryError::NotFound), "it is there by now");
    // And so is what is bad together with it.
    *gateway.meanwhile.lock().unwrap() = Some((store.clone(), other("bad")));
    let refused = change(&desk, server("b", Some("fine"))).await;
    let said = "registry/servers/crm:2:5: it is bad".to_owned();
    assert_eq!(refused, Err(RegistryError::Refused(said)));
    assert_eq!(store.read().await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn the_file_is_listed_beside_the_registry_and_shadows_it() {
    let (desk, _, store) = desk();
    for (on, name) in (0..).zip(["z", "files", "a"]) {
        let put = Change {
            kind: Kind::Server,
            name: name.into(),
            text: Some("x".into()),
            by: "olga".into(),
            at: Duration::ZERO,
        };
        store.apply(on, &put).await.unwrap();
    }
    let list = desk.list(Kind::Server).await.unwrap();
    let seen: Vec<_> = list
        .iter()
        .map(|one| (&*one.name, &*one.source, one.shadowed_by_file, &one.text))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", "registry", false, &None),
            ("files", "file", true, &None),
            ("z", "registry", false, &None),
        ]
    );
    let shown = desk.get(Kind::Server, "files").await.unwrap();
    assert_eq!(shown.place.as_deref(), Some("c.yaml:3"));
    // What is shadowed can go; what the file alone has can't.
    change(&desk, server("files", None)).await.unwrap();
    let refused = change(&desk, server("files", None)).await;
    assert!(matches!(refused, Err(RegistryError::InFile(_))));
    assert!(!desk.list(Kind::Flag).await.unwrap()[0].shadowed_by_file);
}
