use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use cedar_policy_core::{
    ast::{Context, EntityUIDEntry, Expr, Literal, Request, Value, ValueKind},
    evaluator::Evaluator,
    extensions::Extensions,
};
use mcp_ultra_protocol::json::Object;
use smol_str::SmolStr;

use super::{
    Action, Policies, Resource, Standing,
    entity::entities,
    flags,
    needs::{Needs, Wanted},
    rule::{Condition, Effect, PolicyName, Rule},
    value,
};
use crate::flags::{FlagContext, Flags};

/// What is asked: may it be called, or is it to be listed?
///
/// A thing is listed if it may be called with some arguments, as far as that can be known without
/// them. A policy that speaks of `context.view` can only hide from lists what may be called, never
/// list what may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// It is to be listed.
    List,
    /// It is called.
    Call,
    /// It may be called with some arguments, whether it is listed or not.
    Possible,
}

/// The circumstances of a request, of which only what a policy asks for is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The time since the Unix epoch.
    pub now: Duration,
    /// The address that the request came from.
    pub address: Option<IpAddr>,
    /// The text of the object of arguments; `None` where there is none.
    pub arguments: Option<&'a str>,
}

/// An answer, and what it was found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// The policies that decided: those that forbid, else those that permit. None where no policy
    /// permits.
    pub policies: Vec<PolicyName>,
    /// Policies that could not be evaluated, and why not. The answer is a refusal then.
    pub failures: Vec<Failure>,
}

/// Why a policy could not be evaluated. Holds nothing that a caller has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The policy.
    pub policy: PolicyName,
    /// Why not.
    pub reason: String,
}

/// A decision and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Whether it is the same at any time, from anywhere and with any arguments.
    pub fixed: bool,
    /// When it may be another one with the time alone.
    pub with_time: WithTime,
    /// Whether it may be another one for another address.
    pub by_address: bool,
}

/// When an answer may be another one while nothing but the time goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithTime {
    /// At no time.
    #[default]
    Never,
    /// When a minute begins: hours, minutes and weekdays are asked for.
    EachMinute,
    /// At any moment.
    AnyMoment,
}

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

    /// What the conditions ask for, and what of it can't be had.
    fn context(&self, needs: &Needs, view: &'static str) -> (BTreeMap<SmolStr, Value>, Missing) {
        let vocabulary = self.policies.vocabulary();
        let mut context = BTreeMap::new();
        let mut missing = Missing::default();
        if needs.view {
            context.insert(SmolStr::new_static("view"), vocabulary.view(view));
        }
        if needs.time {
            let zone = self.policies.zone();
            match value::time(vocabulary, zone, self.circumstances.now, needs.moment) {
                Some(time) => drop(context.insert(SmolStr::new_static("time"), time)),
                None => missing.time = true,
            }
        }
        if needs.network {
            let address = self.circumstances.address;
            match address.and_then(|address| value::network(vocabulary, address)) {
                Some(network) => drop(context.insert(SmolStr::new_static("network"), network)),
                None => missing.network = true,
            }
        }
        if let Some(wanted) = &needs.arguments {
            let arguments = self.arguments(wanted, &mut missing);
            context.insert(
                SmolStr::new_static("arguments"),
                Value::record(arguments, None),
            );
        }
        if let (Some(wanted), Some(flags)) = (&needs.flags, self.policies.flags()) {
            let flags = self.flags(flags, wanted, &mut missing);
            context.insert(SmolStr::new_static("flags"), Value::record(flags, None));
        }
        (context, missing)
    }

    /// The flags that the conditions name. What can't be evaluated is missing.
    fn flags(
        &self,
        flags: &Flags,
        wanted: &Wanted,
        missing: &mut Missing,
    ) -> Vec<(SmolStr, Value)> {
        let functions = &self.policies.vocabulary().functions;
        let context = FlagContext {
            principal: self.standing.principal(),
            target: Some(self.resource),
            now: self.circumstances.now,
            attributes: None,
        };
        let mut values = Vec::new();
        for flag in flags::wanted(flags, wanted) {
            match flags::value(flag, &context, functions) {
                Some(value) => values.push((flag.key().into(), value)),
                None => missing.flags.push(flag.key().into()),
            }
        }
        values
    }

    /// The arguments that the conditions name. What is not of its declared type is missing.
    fn arguments(&self, wanted: &Wanted, missing: &mut Missing) -> Vec<(SmolStr, Value)> {
        let declared = self.policies.arguments();
        let functions = &self.policies.vocabulary().functions;
        let Some(text) = self.circumstances.arguments else {
            return Vec::new();
        };
        let Ok(object) = Object::parse(text) else {
            missing.arguments.extend(declared.keys().cloned());
            return Vec::new();
        };
        let is_wanted = |name: &SmolStr| match wanted {
            Wanted::All => true,
            Wanted::Some(names) => names.contains(name),
        };
        let mut values = Vec::new();
        for (name, of) in declared.iter().filter(|(name, _)| is_wanted(name)) {
            let Some(text) = object.get(name).filter(|text| *text != "null") else {
                continue;
            };
            match of.value(text, functions) {
                Some(value) => values.push((name.clone(), value)),
                None => missing.arguments.push(name.clone()),
            }
        }
        values
    }
}

/// What conditions ask for and can't be had. They can't be evaluated then.
#[derive(Default)]
struct Missing {
    time: bool,
    network: bool,
    arguments: Vec<SmolStr>,
    flags: Vec<SmolStr>,
}

impl Missing {
    fn argument(&self, needs: &Needs) -> Option<&SmolStr> {
        first(&self.arguments, needs.arguments.as_ref())
    }

    fn flag(&self, needs: &Needs) -> Option<&SmolStr> {
        first(&self.flags, needs.flags.as_ref())
    }

    fn concerns(&self, needs: &Needs) -> bool {
        (self.time && needs.time)
            || (self.network && needs.network)
            || self.argument(needs).is_some()
            || self.flag(needs).is_some()
    }

    fn reason(&self, needs: &Needs) -> String {
        if let Some(name) = self.argument(needs) {
            format!("the argument \"{name}\" is not of its declared type")
        } else if let Some(name) = self.flag(needs) {
            format!("the flag \"{name}\" can't be evaluated")
        } else if self.network && needs.network {
            "the address of the caller is not known".to_owned()
        } else {
            "the time is not known".to_owned()
        }
    }
}

/// The first of some names that is wanted.
fn first<'n>(names: &'n [SmolStr], wanted: Option<&Wanted>) -> Option<&'n SmolStr> {
    let wanted = wanted?;
    names.iter().find(|name| match wanted {
        Wanted::All => true,
        Wanted::Some(names) => names.contains(*name),
    })
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

impl Needs {
    fn include(&mut self, other: &Self) {
        self.view |= other.view;
        self.time |= other.time;
        self.moment |= other.moment;
        self.network |= other.network;
        self.timed_flags |= other.timed_flags;
        include(&mut self.flags, other.flags.as_ref());
        include(&mut self.arguments, other.arguments.as_ref());
    }
}

fn include(mine: &mut Option<Wanted>, other: Option<&Wanted>) {
    match (mine, other) {
        (_, None) | (Some(Wanted::All), _) => {}
        (Some(Wanted::Some(mine)), Some(Wanted::Some(names))) => {
            mine.extend(names.iter().cloned());
        }
        (mine, Some(wanted)) => *mine = Some(wanted.clone()),
    }
}
