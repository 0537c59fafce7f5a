//! How the policies whose scope fits are weighed: `forbid` wins, and what can't be evaluated refuses.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy_core::{
    ast::{Context, EntityUIDEntry, Expr, Literal, Request, Value, ValueKind},
    evaluator::Evaluator,
    extensions::Extensions,
};
use smol_str::SmolStr;

use super::{
    Action, Policies, Resource, Standing,
    decision::{Ask, Circumstances, Decision, Failure, Verdict},
    entity::entities,
    needs::Needs,
    rule::{Condition, Effect, Rule},
};

/// What came out of the policies whose scope fits.
#[derive(Default)]
struct Outcome {
    permits: Vec<u32>,
    forbids: Vec<u32>,
    failures: Vec<Failure>,
}

impl Policies {
    /// Answers for one request. A resource that may be of more templates than RFC 6570 says, or
    /// whose URI is not in its normal form, is permitted where it is so in each of its forms.
    pub fn decide(
        &self,
        standing: &Standing,
        action: Action,
        resource: &Resource,
        ask: Ask,
        circumstances: &Circumstances<'_>,
    ) -> Verdict {
        let decide = |resource, spelled| {
            let request = Asked {
                policies: self,
                standing,
                action,
                resource,
                spelled,
                circumstances,
            };
            let mut found = Vec::new();
            let buckets = standing.buckets(action);
            self.index()
                .candidates(buckets, resource, spelled, |at| found.push(at));
            self.weigh(&request, ask, &found)
        };
        let mut verdict = decide(resource, false);
        for (form, spelled) in resource.forms(self.has_spellings()) {
            if !verdict.decision.allowed {
                break;
            }
            let mut other = decide(form, spelled);
            if other.decision.allowed {
                other.fixed &= verdict.fixed;
                other.with_time = other.with_time.max(verdict.with_time);
                other.by_address |= verdict.by_address;
                other.decision = verdict.decision;
            }
            verdict = other;
        }
        verdict
    }

    /// The answer of the policies at these positions, which are those whose scope fits.
    pub(super) fn weigh(&self, request: &Asked<'_>, ask: Ask, found: &[u32]) -> Verdict {
        let candidates: Vec<(u32, &Rule)> = found
            .iter()
            .filter_map(|at| Some((*at, self.rule(*at)?)))
            .collect();
        let conditions = |pick: Pick| {
            let mut needs = Needs::default();
            for (_, rule) in &candidates {
                needs.include(&pick(rule, request.spelled).needs);
            }
            needs
        };
        match ask {
            Ask::Call => {
                let needs = conditions(Rule::call);
                let outcome = request.evaluate(&candidates, Rule::call, &needs, "call");
                self.verdict(outcome, &needs)
            }
            Ask::Possible => {
                let needs = conditions(Rule::list);
                let outcome = request.evaluate(&candidates, Rule::list, &needs, "call");
                self.verdict(outcome, &needs)
            }
            Ask::List => {
                let needs = conditions(Rule::list);
                let outcome = request.evaluate(&candidates, Rule::list, &needs, "list");
                let mut verdict = self.verdict(outcome, &needs);
                if verdict.decision.allowed && needs.view {
                    let call = request.evaluate(&candidates, Rule::list, &needs, "call");
                    let call = self.verdict(call, &needs);
                    if !call.decision.allowed {
                        verdict = call;
                    }
                }
                verdict
            }
        }
    }

    fn verdict(&self, outcome: Outcome, needs: &Needs) -> Verdict {
        let names = |of: &[u32]| {
            of.iter()
                .filter_map(|at| self.rule(*at).map(|rule| rule.name.clone()))
                .collect()
        };
        let Outcome {
            permits,
            forbids,
            failures,
        } = outcome;
        let refused = !forbids.is_empty();
        let decision = Decision {
            allowed: !refused && failures.is_empty() && !permits.is_empty(),
            policies: if refused {
                names(&forbids)
            } else if failures.is_empty() {
                names(&permits)
            } else {
                Vec::new()
            },
            failures,
        };
        Verdict {
            decision,
            fixed: needs.is_fixed(),
            with_time: needs.with_time(),
            by_address: needs.network,
        }
    }
}

/// Which condition of a policy it is about.
type Pick = fn(&Rule, bool) -> &Condition;

/// One request on its way through the candidates.
pub(super) struct Asked<'a> {
    pub policies: &'a Policies,
    pub standing: &'a Standing,
    pub action: Action,
    pub resource: &'a Resource,
    /// Whether it is asked for under the normal form of its URI.
    pub spelled: bool,
    pub circumstances: &'a Circumstances<'a>,
}

impl Asked<'_> {
    fn evaluate(
        &self,
        candidates: &[(u32, &Rule)],
        pick: Pick,
        needs: &Needs,
        view: &'static str,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let of = |effect: Effect| {
            candidates
                .iter()
                .filter(move |(_, rule)| rule.effect == effect)
        };
        // What the scope alone decides needs no evaluation.
        if candidates
            .iter()
            .all(|(_, rule)| pick(rule, self.spelled).expression.is_none())
        {
            outcome
                .forbids
                .extend(of(Effect::Forbid).map(|(at, _)| *at));
            if outcome.forbids.is_empty() {
                outcome
                    .permits
                    .extend(of(Effect::Permit).map(|(at, _)| *at));
            }
            return outcome;
        }
        let (context, missing) = self.context(needs, view);
        let evaluated = self.with_evaluator(context, |evaluate| {
            for effect in [Effect::Forbid, Effect::Permit] {
                for (at, rule) in of(effect) {
                    let condition = pick(rule, self.spelled);
                    let satisfied = match &condition.expression {
                        None => Ok(true),
                        Some(_) if missing.concerns(&condition.needs) => {
                            Err(missing.reason(&condition.needs))
                        }
                        Some(expression) => evaluate(expression),
                    };
                    match (satisfied, effect) {
                        (Ok(false), _) => {}
                        (Ok(true), Effect::Forbid) => outcome.forbids.push(*at),
                        (Ok(true), Effect::Permit) => outcome.permits.push(*at),
                        (Err(reason), _) => outcome.failures.push(Failure {
                            policy: rule.name.clone(),
                            reason,
                        }),
                    }
                }
                // Nothing can be permitted any more.
                if !outcome.forbids.is_empty() || !outcome.failures.is_empty() {
                    break;
                }
            }
        });
        if evaluated.is_none() {
            outcome
                .failures
                .extend(candidates.iter().map(|(_, rule)| Failure {
                    policy: rule.name.clone(),
                    reason: "two different entities have one id".to_owned(),
                }));
        }
        outcome
    }

    /// The values of expressions that ask for nothing but principal, action and resource; without
    /// one what can't be evaluated.
    pub(super) fn values<'e>(&self, of: impl Iterator<Item = &'e Expr>) -> Vec<Option<bool>> {
        self.with_evaluator(BTreeMap::new(), |evaluate| {
            of.map(|expression| evaluate(expression).ok()).collect()
        })
        .unwrap_or_default()
    }

    /// Calls `work` with what evaluates expressions for this request. `None` where two of its
    /// entities have one id.
    fn with_evaluator<R>(
        &self,
        context: BTreeMap<SmolStr, Value>,
        work: impl FnOnce(&dyn Fn(&Expr) -> Result<bool, String>) -> R,
    ) -> Option<R> {
        let vocabulary = self.policies.vocabulary();
        let principal = self.standing.entity(self.policies);
        let action = vocabulary.action(self.action);
        let resource = self.resource.entity(vocabulary);
        let entities = entities([principal, action, resource])?;
        let known = |entity: &cedar_policy_core::ast::Entity| {
            EntityUIDEntry::known(entity.uid().clone(), None)
        };
        let request = Request::new_unchecked(
            known(principal),
            known(action),
            known(resource),
            Some(Context::Value(Arc::new(context))),
        );
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        let slots = cedar_policy_core::ast::SlotEnv::new();
        Some(work(&|expression| {
            evaluator
                .interpret(expression, &slots)
                .map_err(|error| failure(&error))
                .and_then(|value| as_bool(&value))
        }))
    }
}

fn as_bool(value: &Value) -> Result<bool, String> {
    match value.value_kind() {
        ValueKind::Lit(Literal::Bool(value)) => Ok(*value),
        _ => Err("its condition is neither true nor false".to_owned()),
    }
}

/// The kind of an error. Its message may hold what a caller has sent.
fn failure(error: &cedar_policy_core::evaluator::EvaluationError) -> String {
    use cedar_policy_core::evaluator::EvaluationError as Error;
    match error {
        Error::EntityDoesNotExist(_) => "an entity that it names does not exist",
        Error::EntityAttrDoesNotExist(_) | Error::RecordAttrDoesNotExist(_) => {
            "an attribute that it names does not exist"
        }
        Error::TypeError(_) => "a value is not of the type that it needs",
        Error::IntegerOverflow(_) => "a number is too large",
        Error::FailedExtensionFunctionExecution(_) => "an extension function failed",
        Error::RecursionLimit(_) => "it is nested too deep",
        _ => "its condition has no value",
    }
    .to_owned()
}
