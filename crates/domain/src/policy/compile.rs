use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    str::FromStr,
    sync::Arc,
};

use aws_lc_rs::digest;
use cedar_policy::{PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::{ast, parser::Loc};
use jiff::tz::TimeZone;
use smol_str::SmolStr;

use super::{
    Action, WithTime,
    arguments::Members,
    entity::{Kind, Vocabulary},
    error::{PolicyErrors, Problem, position},
    index::{Builder, Index, Reach, reaches_admin},
    needs::{self, OfPrincipal},
    rule::{Effect, PolicyName, Rule},
    schema,
};
use crate::flags::Flags;

/// The most parts that the condition of one policy may have. It bounds the stack that reading and
/// evaluating one takes.
const MOST_PARTS: usize = 4_000;

/// A file of policies (`.cedar`) or of types (`.cedarschema`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as messages name it.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    fn declares_types(&self) -> bool {
        let extension = std::path::Path::new(&self.name).extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("cedarschema"))
    }

    /// What names of policies begin with: the file without its folder.
    fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

/// The policies that permit actions of the admin API to anyone, as far as their scope says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminPermits {
    /// Those that name such an action, or what is administered.
    pub named: Vec<PolicyName>,
    /// Those that name neither, and permit everything to whoever they are for.
    pub everything: Vec<PolicyName>,
}

impl AdminPermits {
    /// Whether nobody may administer anything.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.everything.is_empty()
    }
}

/// A set of policies that has been checked: what is decided by.
#[derive(Debug)]
pub struct Policies {
    rules: Vec<Rule>,
    index: Index,
    vocabulary: Vocabulary,
    arguments: Members,
    told_apart_by: OfPrincipal,
    zone: TimeZone,
    /// Whether any policy has a condition.
    conditions: bool,
    admin: AdminPermits,
    with_time: WithTime,
    /// What `context.flags` is taken from.
    flags: Option<Arc<Flags>>,
    /// Whether any policy writes a URI in another spelling than its normal form.
    spellings: bool,
    revision: Arc<str>,
}

impl Policies {
    /// Reads and checks a set of policies. `time_zone` is the zone of `context.time`, a name of
    /// the IANA database; UTC without one.
    ///
    /// # Errors
    /// [`PolicyErrors`]: everything that is wrong, each with its file, line and column.
    pub fn compile(sources: &[Source], time_zone: Option<&str>) -> Result<Self, PolicyErrors> {
        Self::compile_with_flags(sources, time_zone, None)
    }

    /// The same with feature flags, which policies read as `context.flags`: what they decide by is
    /// this set of flags and no other.
    ///
    /// # Errors
    /// As [`Policies::compile`]; a policy that speaks of a flag which is not there is one.
    pub fn compile_with_flags(
        sources: &[Source],
        time_zone: Option<&str>,
        flags: Option<Arc<Flags>>,
    ) -> Result<Self, PolicyErrors> {
        let zone = match time_zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                let message = format!("there is no time zone \"{name}\"");
                let problem = Problem::whole("policy.time_zone", message);
                PolicyErrors(vec![problem.with_help(
                    "write a name of the IANA database, such as America/Sao_Paulo",
                )])
            })?,
        };
        let (types, texts): (Vec<_>, Vec<_>) =
            sources.iter().partition(|source| source.declares_types());
        let known = schema::read(&types, flags.as_deref()).map_err(PolicyErrors)?;
        let mut reading = Reading::default();
        for source in texts {
            reading.read(source);
        }
        reading.validate(&known.schema);
        if !reading.problems.is_empty() {
            reading
                .problems
                .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            return Err(PolicyErrors(reading.problems));
        }
        let internal = || {
            PolicyErrors(vec![Problem::whole(
                "schema.cedarschema",
                "the schema is not usable",
            )])
        };
        let actions = known.schema.action_entities().map_err(|_| internal())?;
        let actions = actions.as_ref();
        let vocabulary = Vocabulary::new(actions).ok_or_else(internal)?;
        let groups = groups(actions);
        let mut told_apart_by = OfPrincipal::default();
        let mut builder = Builder::default();
        let mut rules = Vec::with_capacity(reading.policies.len());
        let mut admin = AdminPermits::default();
        for (at, policy) in (0..).zip(&reading.policies) {
            builder.add(at, &policy.policy, &groups);
            let rule = Rule::new(policy.name.clone(), &policy.policy, flags.as_deref());
            told_apart_by.add(&rule.call.needs.principal);
            if let Some(uid) = policy.policy.principal_constraint().as_inner().get_euid() {
                told_apart_by.named.insert(needs::key(uid));
            }
            if rule.effect == Effect::Permit {
                match reaches_admin(&policy.policy, &groups) {
                    Some(Reach::Named) => admin.named.push(rule.name.clone()),
                    Some(Reach::All) => admin.everything.push(rule.name.clone()),
                    None => {}
                }
            }
            rules.push(rule);
        }
        let read_flags = rules.iter().any(|rule| rule.call.needs.flags.is_some());
        let flags = flags.filter(|_| read_flags);
        Ok(Self {
            conditions: rules.iter().any(|rule| rule.call.expression.is_some()),
            with_time: with_time(&rules),
            spellings: builder.has_spellings() || rules.iter().any(|rule| rule.spelled.is_some()),
            rules,
            index: builder.finish(),
            vocabulary,
            arguments: known.arguments,
            told_apart_by,
            zone,
            admin,
            revision: revision(sources, time_zone, flags.as_deref()),
            flags,
        })
    }

    /// What tells this set of policies from another: a hash of its text, and of that of the flags
    /// which it reads.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no policy, and so everything is refused.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Which policies permit actions of the admin API.
    pub fn admin_permits(&self) -> &AdminPermits {
        &self.admin
    }

    /// When lists may be other ones with the time alone.
    pub fn with_time(&self) -> WithTime {
        self.with_time
    }

    pub(super) fn has_spellings(&self) -> bool {
        self.spellings
    }

    pub(super) fn has_conditions(&self) -> bool {
        self.conditions
    }

    pub(super) fn rule(&self, at: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(at).ok()?)
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    pub(super) fn arguments(&self) -> &Members {
        &self.arguments
    }

    pub(super) fn told_apart_by(&self) -> &OfPrincipal {
        &self.told_apart_by
    }

    pub(super) fn flags(&self) -> Option<&Flags> {
        self.flags.as_deref()
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl OfPrincipal {
    fn add(&mut self, other: &Self) {
        self.identity |= other.identity;
        self.roles |= other.roles;
        self.scopes |= other.scopes;
        self.details |= other.details;
        self.acr |= other.acr;
        self.amr |= other.amr;
        self.auth_time |= other.auth_time;
        self.named.extend(other.named.iter().cloned());
    }

    pub(super) fn names(&self, kind: &str, id: &str) -> bool {
        self.named.contains(&(kind.into(), id.into()))
    }
}

/// A policy that has been read.
struct Read {
    name: PolicyName,
    policy: ast::Policy,
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    policies: Vec<Read>,
    /// The policies under names that are unique over all files, for the validator.
    all: PolicySet,
    /// Where the policy with such a name is from: file, text, line and column.
    origins: BTreeMap<String, (String, Arc<str>, usize)>,
    problems: Vec<Problem>,
}

impl Reading {
    fn read(&mut self, source: &Source) {
        let set = match PolicySet::from_str(&source.text) {
            Ok(set) => set,
            Err(errors) => {
                let of = |error| Problem::of(&source.name, &source.text, error);
                self.problems.extend(
                    errors
                        .iter()
                        .map(|error| of(error as &dyn miette::Diagnostic)),
                );
                return;
            }
        };
        for template in set.templates() {
            let ast: &ast::Template = template.as_ref();
            let at = ast.loc().map_or(0, Loc::start);
            let message = "a policy with a slot (?principal, ?resource) is a template, and there is nothing that would fill it";
            let problem = Problem::at(&source.name, &source.text, at, message);
            self.problems
                .push(problem.with_help("name the principal or resource itself"));
        }
        let text: Arc<str> = source.text.as_str().into();
        let mut policies: Vec<_> = set.policies().collect();
        policies.sort_by_key(|policy| start(policy.as_ref()));
        for policy in policies {
            let at = start(policy.as_ref());
            let (line, column) = position(&source.text, at);
            let name = match policy.annotation("id") {
                Some(id) if !id.is_empty() => id.to_owned(),
                _ => format!("{}:{line}", source.short_name()),
            };
            // Two policies may begin in one line.
            let name = if self.origins.contains_key(&name) && policy.annotation("id").is_none() {
                format!("{name}:{column}")
            } else {
                name
            };
            let parts = policy_parts(policy.as_ref());
            if parts > MOST_PARTS {
                let message = format!("the condition has {parts} parts, more than {MOST_PARTS}");
                let problem = Problem::at(&source.name, &source.text, at, message);
                self.problems
                    .push(problem.with_help("write several policies"));
                continue;
            }
            if let Some((file, ..)) = self.origins.get(&name) {
                let message = format!("the policy \"{name}\" is there already, in {file}");
                let problem = Problem::at(&source.name, &source.text, at, message);
                self.problems
                    .push(problem.with_help("give each policy an @id of its own"));
                continue;
            }
            let renamed = policy.new_id(PolicyId::new(&name));
            let ast: &ast::Policy = renamed.as_ref();
            self.policies.push(Read {
                name: name.as_str().into(),
                policy: ast.clone(),
            });
            self.origins
                .insert(name, (source.name.clone(), text.clone(), at));
            // The name is unique, so there is nothing that it could collide with.
            drop(self.all.add(renamed));
        }
    }

    fn validate(&mut self, schema: &Schema) {
        let result = Validator::new(schema.clone()).validate(&self.all, ValidationMode::Strict);
        let of_administration = format!(
            "on entity type `{}` not found",
            Kind::Administration.as_str()
        );
        for error in result.validation_errors() {
            let id = error.policy_id().to_string();
            let Some((file, text, at)) = self.origins.get(&id) else {
                continue;
            };
            let mut problem = Problem::of(file, text, error);
            if problem.line == 0 {
                let help = problem.help.take();
                problem = Problem {
                    help,
                    ..Problem::at(file, text, *at, problem.message)
                };
            }
            // Cedar says what is missing, and not why a policy for tools is about that at all.
            if problem.message.contains(&of_administration) {
                problem.help = Some(SAY_WHAT_FOR.to_owned());
            }
            self.problems.push(problem);
        }
    }
}

/// What to do about a condition that speaks of what an administration does not have.
const SAY_WHAT_FOR: &str = "a policy for all resources is about what the admin API administers too, which has no name, server, data class and annotations: name in the scope what the policy is about, such as `action in Action::\"tools\"` or `resource is Tool`, or begin the condition with `resource has name &&`";

/// When any of them may have another answer for a list.
fn with_time(rules: &[Rule]) -> WithTime {
    let all = rules.iter().map(|rule| rule.list.needs.with_time());
    all.max().unwrap_or_default()
}

fn start(policy: &ast::Policy) -> usize {
    policy.loc().map_or(0, Loc::start)
}

fn policy_parts(policy: &ast::Policy) -> usize {
    policy
        .non_scope_constraints()
        .map_or(0, |condition| condition.subexpressions().count())
}

/// The actions of each group.
fn groups(actions: &cedar_policy_core::entities::Entities) -> HashMap<SmolStr, Vec<Action>> {
    let mut groups: HashMap<SmolStr, Vec<Action>> = HashMap::new();
    for entity in actions.iter() {
        let id: &str = entity.uid().eid().as_ref();
        let Some(action) = Action::named(id) else {
            continue;
        };
        for group in entity.ancestors() {
            let group: &str = group.eid().as_ref();
            groups.entry(group.into()).or_default().push(action);
        }
    }
    groups
}

fn revision(sources: &[Source], time_zone: Option<&str>, flags: Option<&Flags>) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |text: &str| {
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    };
    add(schema::SCHEMA);
    add(time_zone.unwrap_or_default());
    for source in sources {
        add(source.short_name());
        add(&source.text);
    }
    if let Some(flags) = flags {
        add(flags.revision());
    }
    let hash = context.finish();
    let mut text = String::with_capacity(64);
    for byte in hash.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}
