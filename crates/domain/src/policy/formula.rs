//! Conditions that ask for names, taken apart, so that a long list is not evaluated entry by
//! entry: what does not depend on the name is evaluated once for all entries of a kind, and what
//! does is a comparison of texts.

use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, PatternElem, UnaryOp, Var};
use smol_str::SmolStr;

use super::needs::Needs;

/// A condition as a formula over its parts.
#[derive(Debug, Clone)]
pub(super) struct Formula {
    root: Node,
    /// What does not depend on which resource it is, and has to be evaluated.
    parts: Vec<Arc<Expr>>,
}

#[derive(Debug, Clone)]
enum Node {
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    Not(Box<Self>),
    /// `resource.name like "…"`.
    Like(Pattern),
    /// `resource.name == "…"`, or one of several.
    OneOf(Vec<SmolStr>),
    /// The part at that position.
    Part(usize),
}

/// The value of a condition, or of a part of it; without one it could not be evaluated.
pub(super) type Value = Option<bool>;

impl Formula {
    /// `None` where the name is asked for in a way that is not one of the usual ones.
    pub(super) fn of(condition: &Expr) -> Option<Self> {
        let mut parts = Vec::new();
        let root = node(condition, &mut parts)?;
        Some(Self { root, parts })
    }

    /// What has to be evaluated once for all resources that differ by their names alone.
    pub(super) fn parts(&self) -> &[Arc<Expr>] {
        &self.parts
    }

    /// The value for the resource of this name, as Cedar evaluates it: from left to right, and no
    /// further than needed. `parts` are the values of [`Self::parts`].
    pub(super) fn value(&self, name: &str, parts: &[Value]) -> Value {
        self.root.value(name, parts)
    }
}

impl Node {
    fn value(&self, name: &str, parts: &[Value]) -> Value {
        match self {
            Self::And(sides) => match sides[0].value(name, parts) {
                Some(true) => sides[1].value(name, parts),
                decided => decided,
            },
            Self::Or(sides) => match sides[0].value(name, parts) {
                Some(false) => sides[1].value(name, parts),
                decided => decided,
            },
            Self::Not(of) => of.value(name, parts).map(|value| !value),
            Self::Like(pattern) => Some(pattern.fits(name)),
            Self::OneOf(names) => Some(names.iter().any(|one| one == name)),
            Self::Part(at) => parts.get(*at).copied().flatten(),
        }
    }
}

fn node(expression: &Expr, parts: &mut Vec<Arc<Expr>>) -> Option<Node> {
    if !Needs::of(expression).resource {
        parts.push(Arc::new(expression.clone()));
        return Some(Node::Part(parts.len() - 1));
    }
    Some(match expression.expr_kind() {
        ExprKind::And { left, right } => {
            Node::And(Box::new([node(left, parts)?, node(right, parts)?]))
        }
        ExprKind::Or { left, right } => {
            Node::Or(Box::new([node(left, parts)?, node(right, parts)?]))
        }
        ExprKind::UnaryApp {
            op: UnaryOp::Not,
            arg,
        } => Node::Not(Box::new(node(arg, parts)?)),
        ExprKind::Like { expr, pattern } if is_name(expr) => {
            Node::Like(Pattern::new(pattern.get_elems()))
        }
        ExprKind::BinaryApp {
            op: BinaryOp::Eq,
            arg1,
            arg2,
        } => {
            let text = if is_name(arg1) {
                text(arg2)
            } else if is_name(arg2) {
                text(arg1)
            } else {
                None
            };
            Node::OneOf(vec![text?])
        }
        ExprKind::BinaryApp {
            op: BinaryOp::Contains,
            arg1,
            arg2,
        } if is_name(arg2) => match arg1.expr_kind() {
            ExprKind::Set(elements) => {
                Node::OneOf(elements.iter().map(text).collect::<Option<_>>()?)
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether it is `resource.name`.
pub(super) fn is_name(expression: &Expr) -> bool {
    match expression.expr_kind() {
        ExprKind::GetAttr { expr, attr } => {
            attr == "name" && matches!(expr.expr_kind(), ExprKind::Var(Var::Resource))
        }
        _ => false,
    }
}

fn text(expression: &Expr) -> Option<SmolStr> {
    match expression.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// A text in which some places stand for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What is between those places; at least one.
    pieces: Vec<String>,
}

impl Pattern {
    fn new(elements: &[PatternElem]) -> Self {
        let mut pieces = vec![String::new()];
        for element in elements {
            match (element, pieces.last_mut()) {
                (PatternElem::Char(character), Some(last)) => last.push(*character),
                _ => pieces.push(String::new()),
            }
        }
        Self { pieces }
    }

    /// The pattern in which `*` stands for any text.
    pub(crate) fn with_stars(text: &str) -> Self {
        Self {
            pieces: text.split('*').map(str::to_owned).collect(),
        }
    }

    /// Whether a text is like that.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let [first, between @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|whole| whole == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for piece in between {
            let Some(at) = rest.find(piece.as_str()) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy_core::ast::Pattern as Cedars;
    use proptest::prelude::*;

    use super::*;

    fn formula(condition: &str) -> Option<Formula> {
        Formula::of(&condition.parse().unwrap())
    }

    #[test]
    fn what_does_not_ask_for_the_name_is_a_part() {
        let mixed = formula(
            r#"(resource.readOnly || resource.name like "a*") && !["b", "c"].contains(resource.name)"#,
        )
        .unwrap();
        assert_eq!(mixed.parts().len(), 1);
        assert_eq!(mixed.value("ab", &[Some(false)]), Some(true));
        assert_eq!(mixed.value("b", &[Some(true)]), Some(false));
        assert_eq!(mixed.value("x", &[Some(false)]), Some(false));
        assert_eq!(mixed.value("x", &[Some(true)]), Some(true));
        // Cedar fails where the left side does.
        assert_eq!(mixed.value("ab", &[None]), None);
        let whole = formula("resource.readOnly && principal.tenant == \"t\"").unwrap();
        assert_eq!(whole.parts().len(), 1);
        assert_eq!(formula(r#""x" == resource.name"#).unwrap().parts().len(), 0);
    }

    #[test]
    fn other_ways_to_ask_are_left_to_cedar() {
        for condition in [
            r#"resource == Tool::"x""#,
            "resource.name == principal.subject",
            r"principal.roles.contains(resource.name)",
            r#"if resource.name == "x" then true else false"#,
        ] {
            assert!(formula(condition).is_none(), "{condition}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        let fits = |pattern, text| Pattern::with_stars(pattern).fits(text);
        assert!(fits("a*b*a", "aba") && !fits("a*b*a", "ab") && !fits("ab*ba", "aba"));
        assert!(fits("exact", "exact") && !fits("exact", "exactly"));
    }

    proptest! {
        #[test]
        fn patterns_fit_as_cedars_do(
            elements in prop::collection::vec(prop::option::of("[abé*]"), 0..8),
            text in "[abé*]{0,10}",
        ) {
            let elements: Vec<PatternElem> = elements
                .iter()
                .map(|one| match one.as_deref().and_then(|one| one.chars().next()) {
                    Some(character) => PatternElem::Char(character),
                    None => PatternElem::Wildcard,
                })
                .collect();
            let cedars = Cedars::from(elements.clone());
            prop_assert_eq!(Pattern::new(&elements).fits(&text), cedars.wildcard_match(&text));
        }
    }
}
