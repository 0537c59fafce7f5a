use std::sync::Arc;

use cedar_policy_core::ast::{self, Expr};

use crate::flags::Flags;

use super::{formula::Formula, listing, needs::Needs, spelling};

/// How messages, the ledger and `policy explain` name a policy: by its `@id`, else by file and
/// line.
pub type PolicyName = Arc<str>;

/// What a policy does where it is satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It allows, unless another one forbids.
    Permit,
    /// It refuses, whatever others allow.
    Forbid,
}

/// One policy whose scope is in the index.
#[derive(Debug)]
pub(super) struct Rule {
    pub name: PolicyName,
    pub effect: Effect,
    /// Its condition for a call; `None` where its scope is all that it says.
    pub call: Condition,
    /// Its condition for a list, where arguments are not known yet.
    pub list: Condition,
    /// The same for resources under the normal form of their URIs, where it writes others.
    pub spelled: Option<Spelled>,
}

/// The conditions of a policy with URIs in their normal form.
#[derive(Debug)]
pub(super) struct Spelled {
    call: Condition,
    list: Condition,
}

/// `when` and `unless` as one expression, and what has to be known to evaluate it.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub expression: Option<Arc<Expr>>,
    pub needs: Needs,
    /// The condition taken apart, where the answer is the same at any time and from anywhere.
    pub formula: Option<Formula>,
}

impl Condition {
    fn new(expression: Option<Arc<Expr>>, flags: Option<&Flags>) -> Self {
        let needs = expression.as_deref().map(Needs::of).unwrap_or_default();
        let needs = needs.with_flags(flags);
        let formula = expression
            .as_deref()
            .filter(|_| needs.is_fixed() && !needs.view && needs.flags.is_none())
            .and_then(Formula::of);
        Self {
            expression,
            needs,
            formula,
        }
    }
}

impl Rule {
    /// `flags` are those that it may speak of.
    pub(super) fn new(name: PolicyName, policy: &ast::Policy, flags: Option<&Flags>) -> Self {
        let effect = match policy.effect() {
            ast::Effect::Permit => Effect::Permit,
            ast::Effect::Forbid => Effect::Forbid,
        };
        let both = |expression: Option<Arc<Expr>>| {
            let call = Condition::new(expression, flags);
            let list = match &call.expression {
                Some(expression) if call.needs.arguments.is_some() => {
                    let listed = listing::without_arguments(expression, effect);
                    Condition::new(Some(Arc::new(listed)), flags)
                }
                _ => call.clone(),
            };
            (call, list)
        };
        let expression = policy.non_scope_constraints_arc();
        let normal = expression.and_then(|expression| spelling::normalised(expression));
        let spelled = normal.map(|normal| {
            let (call, list) = both(Some(Arc::new(normal)));
            Spelled { call, list }
        });
        let (call, list) = both(expression.cloned());
        Self {
            name,
            effect,
            call,
            list,
            spelled,
        }
    }

    /// Its condition for a call on something under its own name, or under the normal form of its
    /// URI.
    pub(super) fn call(&self, spelled: bool) -> &Condition {
        let normal = self.spelled.as_ref().filter(|_| spelled);
        normal.map_or(&self.call, |normal| &normal.call)
    }

    /// As [`Rule::call`], for a list.
    pub(super) fn list(&self, spelled: bool) -> &Condition {
        let normal = self.spelled.as_ref().filter(|_| spelled);
        normal.map_or(&self.list, |normal| &normal.list)
    }
}
