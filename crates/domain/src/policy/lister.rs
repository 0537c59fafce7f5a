use std::{collections::HashMap, sync::Arc};

use super::{
    Action, Annotations, Ask, Circumstances, DataClass, Policies, Resource, Standing, Target,
    decide::Asked, entity::Kind,
};

/// Whether something is listed, and whether that is so at any time and from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Whether it is listed.
    pub allowed: bool,
    /// Whether the answer depends on nothing but principal and resource.
    pub fixed: bool,
}

/// Answers for one list after the other of its entries, each kind of entry once: most tools of a
/// list differ by nothing that a policy asks about.
pub struct Lister<'p> {
    policies: &'p Policies,
    standing: &'p Standing,
    circumstances: Circumstances<'p>,
    known: HashMap<Alike, Shown>,
    found: Vec<u32>,
}

/// What two resources have in common that are answered alike by policies that do not ask for names.
#[derive(PartialEq, Eq, Hash)]
struct Alike {
    /// The policies whose scope fits.
    found: Box<[u32]>,
    action: Action,
    kind: Kind,
    annotations: Option<Annotations>,
    server: Arc<str>,
    data_class: DataClass,
}

impl Policies {
    /// Makes what conditions see of a resource, so that no request has to. It is kept with the
    /// resource, for other sets of policies too.
    pub fn prepare(&self, resource: &Resource) {
        if self.has_conditions() {
            resource.entity(self.vocabulary());
        }
    }
}

impl<'p> Lister<'p> {
    /// For the lists of one principal.
    pub fn new(
        policies: &'p Policies,
        standing: &'p Standing,
        circumstances: Circumstances<'p>,
    ) -> Self {
        Self {
            policies,
            standing,
            circumstances,
            known: HashMap::new(),
            found: Vec::new(),
        }
    }

    /// As [`Policies::decide`] says with [`Ask::List`].
    pub fn shows(&mut self, action: Action, resource: &Resource) -> Shown {
        let buckets = self.standing.buckets(action);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let index = self.policies.index();
        index.candidates(buckets, resource, |at| found.push(at));
        let shown = self.answer(action, resource, &found);
        self.found = found;
        shown
    }

    fn answer(&mut self, action: Action, resource: &Resource, found: &[u32]) -> Shown {
        let mut conditions = found
            .iter()
            .filter_map(|at| self.policies.rule(*at))
            .map(|rule| &rule.list)
            .filter(|condition| condition.expression.is_some())
            .peekable();
        // Without conditions there is nothing to save; with a name in one, each is its own kind.
        let is_kind = conditions.peek().is_some()
            && conditions.all(|condition| !condition.needs.resource)
            && !matches!(resource.target, Target::Resource { template: Some(_) });
        if !is_kind {
            return self.ask(action, resource, found);
        }
        let alike = Alike {
            found: found.into(),
            action,
            kind: Kind::of(&resource.target),
            annotations: match resource.target {
                Target::Tool(annotations) => Some(annotations),
                _ => None,
            },
            server: resource.server.clone(),
            data_class: resource.data_class,
        };
        if let Some(shown) = self.known.get(&alike) {
            return *shown;
        }
        let shown = self.ask(action, resource, found);
        self.known.insert(alike, shown);
        shown
    }

    fn ask(&self, action: Action, resource: &Resource, found: &[u32]) -> Shown {
        let request = Asked {
            policies: self.policies,
            standing: self.standing,
            action,
            resource,
            circumstances: &self.circumstances,
        };
        let verdict = self.policies.weigh(&request, Ask::List, found);
        Shown {
            allowed: verdict.decision.allowed,
            fixed: verdict.fixed,
        }
    }
}
