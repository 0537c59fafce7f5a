//! Conditions for lists: what could be called with some arguments is listed.

use std::sync::Arc;

use cedar_policy_core::ast::{Expr, ExprKind, UnaryOp};

use super::{needs::Needs, rule::Effect};

/// A condition in which every part that speaks of arguments is taken for what is best for the
/// caller: satisfied in a `permit`, not satisfied in a `forbid`. So a tool is listed if it may be
/// called with some arguments, as far as that can be known without them.
pub(super) fn without_arguments(condition: &Expr, effect: Effect) -> Expr {
    assume(condition, effect == Effect::Permit)
}

/// `assumed` is what parts that speak of arguments are taken for at this place; a negation turns it
/// around.
fn assume(expression: &Expr, assumed: bool) -> Expr {
    if Needs::of(expression).arguments.is_none() {
        return expression.clone();
    }
    match expression.expr_kind() {
        ExprKind::And { left, right } => Expr::and(assume(left, assumed), assume(right, assumed)),
        ExprKind::Or { left, right } => Expr::or(assume(left, assumed), assume(right, assumed)),
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => Expr::not(assume(arg, !assumed)),
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } if Needs::of(test_expr).arguments.is_none() => Expr::ite_arc(
            test_expr.clone(),
            Arc::new(assume(then_expr, assumed)),
            Arc::new(assume(else_expr, assumed)),
        ),
        _ => Expr::val(assumed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(condition: &str, effect: Effect) -> String {
        without_arguments(&condition.parse().unwrap(), effect).to_string()
    }

    #[test]
    fn what_speaks_of_arguments_is_taken_for_the_best() {
        let both = r#"principal.tenant == "a" && context.arguments.amount < 5"#;
        assert_eq!(
            listed(both, Effect::Permit),
            r#"(principal.tenant == "a") && true"#
        );
        assert_eq!(
            listed(both, Effect::Forbid),
            r#"(principal.tenant == "a") && false"#
        );
        assert_eq!(
            listed("!(context.arguments.amount < 5)", Effect::Permit),
            "!false"
        );
        assert_eq!(
            listed("!(context.arguments has amount)", Effect::Forbid),
            "!true"
        );
    }
}
