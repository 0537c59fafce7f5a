use std::{collections::HashMap, sync::Arc};

use super::{
    Action, Annotations, Ask, Circumstances, DataClass, Effect, Policies, Resource, Standing,
    Target, WithTime,
    decide::Asked,
    entity::Kind,
    formula::{Formula, Value},
};

/// Whether something is listed, and whether that is so at any time and from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Whether it is listed.
    pub allowed: bool,
    /// Whether the answer depends on nothing but principal and resource.
    pub fixed: bool,
    /// When it may be another one with the time alone.
    pub with_time: WithTime,
    /// Whether it may be another one for another address.
    pub by_address: bool,
}

impl Shown {
    /// What is listed where no policy is asked.
    pub const ALWAYS: Self = Self {
        allowed: true,
        fixed: true,
        with_time: WithTime::Never,
        by_address: false,
    };
}

/// Answers for one list after the other of its entries, each kind of entry once: most tools of a
/// list differ by nothing that a policy asks about, and the others by their names.
pub struct Lister<'p> {
    policies: &'p Policies,
    standing: &'p Standing,
    circumstances: Circumstances<'p>,
    known: HashMap<Alike, Known<'p>>,
    found: Vec<u32>,
}

/// What is known of resources that are alike.
enum Known<'p> {
    /// The answer.
    Shown(Shown),
    /// The policies, of which some ask for the name: effect, formula, and the values of the parts
    /// that don't. Without a formula the scope is all that the policy says.
    ByName(Vec<(Effect, Option<&'p Formula>, Vec<Value>)>),
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
            for (form, _) in resource.forms(false) {
                form.entity(self.vocabulary());
            }
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
        let mut shown = self.shows_as(action, resource, false);
        for (form, spelled) in resource.forms(self.policies.has_spellings()) {
            if !shown.allowed {
                break;
            }
            let other = self.shows_as(action, form, spelled);
            shown = Shown {
                allowed: other.allowed,
                fixed: other.fixed && (shown.fixed || !other.allowed),
                with_time: shown.with_time.max(other.with_time),
                by_address: shown.by_address || other.by_address,
            };
        }
        shown
    }

    fn shows_as(&mut self, action: Action, resource: &Resource, spelled: bool) -> Shown {
        let buckets = self.standing.buckets(action);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let index = self.policies.index();
        index.candidates(buckets, resource, spelled, |at| found.push(at));
        // Such policies are few: what is kept of the answers is by their own words.
        let shown = if spelled && self.policies.has_spellings() {
            self.ask(action, resource, &found, true)
        } else {
            self.answer(action, resource, &found)
        };
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
        // Without conditions there is nothing to save; a template and a tenant are in no kind.
        let mut has_kind = conditions.peek().is_some()
            && match &resource.target {
                Target::Resource { templates } => templates.is_empty(),
                Target::Administration { .. } => false,
                _ => true,
            };
        let (mut by_name, mut has_formulas) = (false, true);
        for condition in conditions {
            by_name |= condition.needs.resource;
            has_formulas &= condition.formula.is_some();
        }
        has_kind &= !by_name || has_formulas;
        if !has_kind {
            return self.ask(action, resource, found, false);
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
        if let Some(known) = self.known.get(&alike) {
            return known.shown(&resource.name);
        }
        let known = if by_name {
            self.parts(action, resource, found)
        } else {
            Known::Shown(self.ask(action, resource, found, false))
        };
        let shown = known.shown(&resource.name);
        self.known.insert(alike, known);
        shown
    }

    fn parts(&self, action: Action, resource: &Resource, found: &[u32]) -> Known<'p> {
        let policies = self.policies;
        let request = self.request(action, resource, false);
        let rules = found.iter().filter_map(|at| policies.rule(*at));
        let of = rules.map(|rule| {
            let formula = rule.list.formula.as_ref();
            let parts = formula.map_or(&[][..], Formula::parts);
            let values = match parts {
                [] => Vec::new(),
                parts => request.values(parts.iter().map(|part| &**part)),
            };
            (rule.effect, formula, values)
        });
        Known::ByName(of.collect())
    }

    fn request<'r>(&'r self, action: Action, resource: &'r Resource, spelled: bool) -> Asked<'r> {
        Asked {
            policies: self.policies,
            standing: self.standing,
            action,
            resource,
            spelled,
            circumstances: &self.circumstances,
        }
    }

    fn ask(&self, action: Action, resource: &Resource, found: &[u32], spelled: bool) -> Shown {
        let request = self.request(action, resource, spelled);
        let verdict = self.policies.weigh(&request, Ask::List, found);
        Shown {
            allowed: verdict.decision.allowed,
            fixed: verdict.fixed,
            with_time: verdict.with_time,
            by_address: verdict.by_address,
        }
    }
}

impl Known<'_> {
    fn shown(&self, name: &str) -> Shown {
        let rules = match self {
            Self::Shown(shown) => return *shown,
            Self::ByName(rules) => rules,
        };
        let values = |of: Effect| {
            let rules = rules.iter().filter(move |(effect, ..)| *effect == of);
            rules.map(|(_, formula, parts)| match formula {
                Some(formula) => formula.value(name, parts),
                None => Some(true),
            })
        };
        // What can't be evaluated refuses.
        let is_clear = values(Effect::Forbid).all(|value| value == Some(false));
        let allowed = is_clear
            && values(Effect::Permit).all(|value| value.is_some())
            && values(Effect::Permit).any(|value| value == Some(true));
        Shown {
            allowed,
            fixed: true,
            with_time: WithTime::Never,
            by_address: false,
        }
    }
}
