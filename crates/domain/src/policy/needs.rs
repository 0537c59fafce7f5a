//! What a condition refers to, found once when it is read.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};
use smol_str::SmolStr;

use super::WithTime;

/// What has to be known of a request to evaluate a condition, besides principal and resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub view: bool,
    pub time: bool,
    /// More of the time than its hour, minute and weekday.
    pub moment: bool,
    pub network: bool,
    /// `None` where arguments are not spoken of.
    pub arguments: Option<Wanted>,
    /// The feature flags; `None` where they are not spoken of.
    pub flags: Option<Wanted>,
    /// Whether any of them may have another value with the time alone.
    pub timed_flags: bool,
    pub principal: OfPrincipal,
    /// Which resource it is: more than its server, its data class and what a tool states.
    pub resource: bool,
}

/// Which members of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Some(BTreeSet<SmolStr>),
}

/// What of the principal tells apart two that are not the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OfPrincipal {
    /// Who it is: its id, subject or issuer.
    pub identity: bool,
    /// Roles or scopes that are named nowhere.
    pub roles: bool,
    pub scopes: bool,
    /// What it was allowed in detail.
    pub details: bool,
    /// How strongly, by what and when it logged in.
    pub acr: bool,
    pub amr: bool,
    pub auth_time: bool,
    /// Entities that it may be, or be in.
    pub named: BTreeSet<(SmolStr, SmolStr)>,
}

impl Needs {
    pub(super) fn of(expression: &Expr) -> Self {
        let mut needs = Self::default();
        needs.add(expression);
        needs
    }

    /// Whether the answer is the same at any time, from anywhere, and with any arguments.
    pub(super) fn is_fixed(&self) -> bool {
        !self.time && !self.network && self.arguments.is_none() && !self.timed_flags
    }

    /// How long the answer is the same where nothing but the time goes on.
    pub(super) fn with_time(&self) -> WithTime {
        match (self.time, self.moment || self.timed_flags) {
            (_, true) => WithTime::AnyMoment,
            (true, false) => WithTime::EachMinute,
            (false, false) => WithTime::Never,
        }
    }

    /// Takes what another condition needs too.
    pub(super) fn include(&mut self, other: &Self) {
        self.view |= other.view;
        self.time |= other.time;
        self.moment |= other.moment;
        self.network |= other.network;
        self.timed_flags |= other.timed_flags;
        include(&mut self.flags, other.flags.as_ref());
        include(&mut self.arguments, other.arguments.as_ref());
    }

    fn add(&mut self, expression: &Expr) {
        match expression.expr_kind() {
            ExprKind::Var(Var::Context) => self.whole_context(),
            ExprKind::Var(Var::Principal) => self.whole_principal(),
            ExprKind::Var(Var::Resource) => self.resource = true,
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                self.attribute(expr, attr, None);
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let second = attrs.iter().nth(1);
                self.attribute(expr, &attrs.head, second);
            }
            ExprKind::BinaryApp {
                op: BinaryOp::In | BinaryOp::Eq,
                arg1,
                arg2,
            } if is(arg1, Var::Principal) => {
                if let Some(named) = named(arg2) {
                    self.principal.named.extend(named);
                } else {
                    self.whole_principal();
                    self.add(arg2);
                }
            }
            ExprKind::BinaryApp {
                op: BinaryOp::In,
                arg1,
                arg2,
            } if is(arg1, Var::Resource) && is_shared(arg2) => {}
            ExprKind::Is { expr, .. } if is(expr, Var::Principal) || is(expr, Var::Resource) => {}
            _ => parts(expression, &mut |part| self.add(part)),
        }
    }

    /// `of.attr`, or `of has attr.second`.
    fn attribute(&mut self, of: &Expr, attr: &SmolStr, second: Option<&SmolStr>) {
        match of.expr_kind() {
            ExprKind::Var(Var::Context) => match attr.as_str() {
                "view" => self.view = true,
                "time" => {
                    self.time = true;
                    self.moment = true;
                }
                "network" => self.network = true,
                "arguments" => match second {
                    Some(name) => name_one(&mut self.arguments, name),
                    None => self.arguments = Some(Wanted::All),
                },
                "flags" => match second {
                    Some(name) => name_one(&mut self.flags, name),
                    None => self.flags = Some(Wanted::All),
                },
                _ => self.whole_context(),
            },
            ExprKind::Var(Var::Principal) => match attr.as_str() {
                // The tenant and the kind always tell principals apart.
                "tenant" | "kind" => {}
                "roles" => self.principal.roles = true,
                "scopes" => self.principal.scopes = true,
                "authorizationDetails" => self.principal.details = true,
                "acr" => self.principal.acr = true,
                "amr" => self.principal.amr = true,
                "authTime" => self.principal.auth_time = true,
                _ => self.principal.identity = true,
            },
            ExprKind::Var(Var::Resource) if attr != "name" => {}
            ExprKind::GetAttr { expr, attr: outer }
                if outer == "arguments" && is(expr, Var::Context) =>
            {
                name_one(&mut self.arguments, attr);
            }
            ExprKind::GetAttr { expr, attr: outer }
                if outer == "flags" && is(expr, Var::Context) =>
            {
                name_one(&mut self.flags, attr);
            }
            ExprKind::GetAttr { expr, attr: outer }
                if outer == "time" && is(expr, Var::Context) =>
            {
                self.time = true;
                self.moment |= !matches!(attr.as_str(), "hour" | "minute" | "weekday");
            }
            _ => self.add(of),
        }
    }

    fn whole_context(&mut self) {
        self.view = true;
        self.time = true;
        self.moment = true;
        self.network = true;
        self.arguments = Some(Wanted::All);
        self.flags = Some(Wanted::All);
    }

    fn whole_principal(&mut self) {
        self.principal.identity = true;
        self.principal.roles = true;
        self.principal.scopes = true;
        self.principal.details = true;
        self.principal.acr = true;
        self.principal.amr = true;
        self.principal.auth_time = true;
    }
}

/// Adds a member of a record to those that are spoken of.
fn name_one(wanted: &mut Option<Wanted>, name: &SmolStr) {
    match wanted.get_or_insert_with(|| Wanted::Some(BTreeSet::new())) {
        Wanted::All => {}
        Wanted::Some(names) => {
            names.insert(name.clone());
        }
    }
}

fn is(expression: &Expr, var: Var) -> bool {
    matches!(expression.expr_kind(), ExprKind::Var(found) if *found == var)
}

/// The entities that an expression consists of: one, or a set of them.
fn named(expression: &Expr) -> Option<Vec<(SmolStr, SmolStr)>> {
    match expression.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => Some(vec![key(uid)]),
        ExprKind::Set(elements) => {
            let elements: Option<Vec<_>> = elements.iter().map(named).collect();
            Some(elements?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// Whether an expression names only entities that many resources are in.
fn is_shared(expression: &Expr) -> bool {
    named(expression).is_some_and(|named| {
        named
            .iter()
            .all(|(kind, _)| matches!(kind.as_str(), "Server" | "DataClass"))
    })
}

/// Type and id of an entity.
pub(super) fn key(uid: &cedar_policy_core::ast::EntityUID) -> (SmolStr, SmolStr) {
    let id: &str = uid.eid().as_ref();
    (uid.entity_type().to_string().into(), id.into())
}

/// Calls `each` with the direct parts of an expression.
fn parts(expression: &Expr, each: &mut dyn FnMut(&Expr)) {
    match expression.expr_kind() {
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => {
            each(test_expr);
            each(then_expr);
            each(else_expr);
        }
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            each(left);
            each(right);
        }
        ExprKind::UnaryApp { arg, .. } => each(arg),
        ExprKind::BinaryApp { arg1, arg2, .. } => {
            each(arg1);
            each(arg2);
        }
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().for_each(each),
        ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. }
        | ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. } => each(expr),
        ExprKind::Set(elements) => elements.iter().for_each(each),
        ExprKind::Record(members) => members.values().for_each(each),
        // Literals and variables have none.
        _ => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(condition: &str) -> Needs {
        Needs::of(&condition.parse().unwrap())
    }

    #[test]
    fn only_what_is_spoken_of_is_needed() {
        let needs = of("context.arguments.amount < 5 && context.arguments has note");
        let names = ["amount".into(), "note".into()].into();
        assert_eq!(needs.arguments, Some(Wanted::Some(names)));
        assert!(!needs.time && !needs.network && !needs.view && !needs.is_fixed());
        assert!(of("resource.readOnly").is_fixed());
        assert!(of("context.time.hour > 8").time);
        for (condition, with_time) in [
            ("resource.readOnly", WithTime::Never),
            (
                r#"context.time.hour > 8 && context.time.weekday == Weekday::"monday""#,
                WithTime::EachMinute,
            ),
            (
                r#"context.time.minute > 8 && context.time.now > datetime("2026-01-01")"#,
                WithTime::AnyMoment,
            ),
            ("[context.time].contains(context.time)", WithTime::AnyMoment),
            ("[context].contains(context)", WithTime::AnyMoment),
        ] {
            assert_eq!(of(condition).with_time(), with_time, "{condition}");
        }
        assert!(of("context has arguments.city").arguments.is_some());
        assert_eq!(of("context.arguments == {}").arguments, Some(Wanted::All));
        let all = of("[context].contains(context)");
        assert_eq!(
            (all.arguments, all.flags),
            (Some(Wanted::All), Some(Wanted::All))
        );
        let flags = of(r#"context.flags["a.b"] && context has flags.c"#);
        let names = ["a.b".into(), "c".into()].into();
        assert_eq!(flags.flags, Some(Wanted::Some(names)));
        assert!(flags.arguments.is_none() && flags.is_fixed());
        assert_eq!(of("context.flags == {}").flags, Some(Wanted::All));
    }

    #[test]
    fn resources_are_told_apart_by_their_names_only_where_a_condition_does() {
        for (condition, told) in [
            (r#"resource in Server::"a" && resource.readOnly"#, false),
            ("resource is Tool && resource has destructive", false),
            (r#"resource.server == Server::"a""#, false),
            (r#"resource.name like "x*""#, true),
            (r#"resource == Tool::"x""#, true),
            (r#"resource in [Server::"a", Tool::"x"]"#, true),
            ("[resource].contains(resource)", true),
        ] {
            assert_eq!(of(condition).resource, told, "{condition}");
        }
    }

    #[test]
    fn principals_are_told_apart_by_what_is_spoken_of() {
        let needs = of(r#"principal in Role::"a" && principal.tenant == "t""#).principal;
        assert!(!needs.identity && !needs.roles);
        assert_eq!(needs.named, [("Role".into(), "a".into())].into());
        assert!(of(r#"principal.roles.contains("x")"#).principal.roles);
        assert!(of(r#"principal.subject == "x""#).principal.identity);
        let details = of("principal.authorizationDetails.isEmpty()").principal;
        assert!(details.details && !details.identity && !details.scopes);
        let login = of("principal has acr && principal has authTime").principal;
        assert!(login.acr && login.auth_time && !login.amr && !login.identity);
        let amr = of(r#"principal.amr.contains("mfa")"#).principal;
        assert!(amr.amr && !amr.acr && !amr.auth_time && !amr.identity);
        let whole = of(r#"[principal].contains(Principal::"x")"#).principal;
        assert!(whole.identity && whole.roles && whole.scopes && whole.details);
        assert!(whole.acr && whole.amr && whole.auth_time);
    }
}
