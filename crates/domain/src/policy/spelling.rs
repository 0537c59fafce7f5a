//! Policies that write a URI in another spelling than its normal form: what they say of that.

use cedar_policy_core::ast::{
    BinaryOp, Eid, EntityUID, Expr, ExprKind, Literal, Pattern, PatternElem,
};
use mcp_ultra_protocol::uri;

use super::{entity::Kind, formula::is_name};

/// The condition with the URIs of resources, and patterns of them, in their normal form; `None`
/// where they have it.
pub(super) fn normalised(condition: &Expr) -> Option<Expr> {
    match condition.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => normal_id(uid).map(Expr::val),
        ExprKind::Like { expr, pattern } if is_name(expr) => {
            let pattern = normal_pattern(pattern)?;
            Some(Expr::like((**expr).clone(), pattern))
        }
        ExprKind::BinaryApp {
            op: op @ (BinaryOp::Eq | BinaryOp::Contains),
            arg1,
            arg2,
        } if is_name(arg1) || is_name(arg2) => both(arg1, arg2, texts, |left, right| {
            Expr::binary_app(*op, left, right)
        }),
        ExprKind::BinaryApp { op, arg1, arg2 } => both(arg1, arg2, normalised, |left, right| {
            Expr::binary_app(*op, left, right)
        }),
        ExprKind::And { left, right } => both(left, right, normalised, Expr::and),
        ExprKind::Or { left, right } => both(left, right, normalised, Expr::or),
        ExprKind::UnaryApp { op, arg } => normalised(arg).map(|arg| Expr::unary_app(*op, arg)),
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => {
            let parts = [test_expr, then_expr, else_expr];
            let normal = parts.map(|part| normalised(part));
            if normal.iter().all(Option::is_none) {
                return None;
            }
            let mut all = parts
                .into_iter()
                .zip(normal)
                .map(|(part, normal)| normal.map_or_else(|| part.clone(), std::sync::Arc::new));
            Some(Expr::ite_arc(all.next()?, all.next()?, all.next()?))
        }
        ExprKind::Set(elements) => set(elements, normalised),
        _ => None,
    }
}

/// The texts that a name is compared with.
fn texts(expression: &Expr) -> Option<Expr> {
    match expression.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => {
            let normal = uri::normal(text);
            (normal != text.as_str()).then(|| Expr::val(&*normal))
        }
        ExprKind::Set(elements) => set(elements, texts),
        _ => None,
    }
}

fn set(elements: &[Expr], change: fn(&Expr) -> Option<Expr>) -> Option<Expr> {
    let changed: Vec<Option<Expr>> = elements.iter().map(change).collect();
    changed.iter().any(Option::is_some).then(|| {
        let all = elements.iter().zip(changed);
        Expr::set(all.map(|(element, changed)| changed.unwrap_or_else(|| element.clone())))
    })
}

fn both(
    left: &Expr,
    right: &Expr,
    change: fn(&Expr) -> Option<Expr>,
    join: impl FnOnce(Expr, Expr) -> Expr,
) -> Option<Expr> {
    let (changed_left, changed_right) = (change(left), change(right));
    if changed_left.is_none() && changed_right.is_none() {
        return None;
    }
    Some(join(
        changed_left.unwrap_or_else(|| left.clone()),
        changed_right.unwrap_or_else(|| right.clone()),
    ))
}

/// The entity of a resource under the normal form of its URI; `None` where that is its id, and
/// where it is no resource.
pub(super) fn normal_id(uid: &EntityUID) -> Option<EntityUID> {
    if uid.entity_type().to_string() != Kind::Resource.as_str() {
        return None;
    }
    let id: &str = uid.eid().as_ref();
    let normal = uri::normal(id);
    (normal != id)
        .then(|| EntityUID::from_components(uid.entity_type().clone(), Eid::new(&*normal), None))
}

/// Where any text stands, `*` may stand in a URI as well. A pattern that asks for a `*` itself stays
/// as it is.
fn normal_pattern(pattern: &Pattern) -> Option<Pattern> {
    let elements = pattern.get_elems();
    if elements.contains(&PatternElem::Char('*')) {
        return None;
    }
    let text: String = elements
        .iter()
        .map(|element| match element {
            PatternElem::Char(character) => *character,
            PatternElem::Wildcard => '*',
        })
        .collect();
    let normal = uri::normal(&text);
    (normal != text).then(|| {
        let elements = normal.chars().map(|character| match character {
            '*' => PatternElem::Wildcard,
            other => PatternElem::Char(other),
        });
        Pattern::from(elements.collect::<Vec<_>>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(condition: &str) -> Option<String> {
        normalised(&condition.parse().unwrap()).map(|changed| changed.to_string())
    }

    #[test]
    fn uris_and_patterns_of_them_are_written_in_their_normal_form() {
        for (condition, expected) in [
            (
                r#"resource.name like "DB://Acme/*/%7e""#,
                r#"resource.name like "db://acme/*/~""#,
            ),
            (
                r#"!("A:b" == resource.name)"#,
                r#"!("a:b" == resource.name)"#,
            ),
            (
                r#"principal.tenant == "A:b" || ["A:b", "c"].contains(resource.name)"#,
                r#"(principal.tenant == "A:b") || (["a:b", "c"].contains(resource.name))"#,
            ),
            (
                r#"if resource in [Resource::"A:b", Tool::"A:b"] then true else false"#,
                r#"if resource in [Resource::"a:b", Tool::"A:b"] then true else false"#,
            ),
        ] {
            let expected: Expr = expected.parse().unwrap();
            assert_eq!(
                changed(condition),
                Some(expected.to_string()),
                "{condition}"
            );
        }
        for same in [
            r#"resource.name like "*/Rows/*""#,
            r"resource.name == principal.subject",
            r#"principal.tenant like "A:*""#,
            r#"resource == Tool::"A:b""#,
        ] {
            assert_eq!(changed(same), None, "{same}");
        }
    }
}
