use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ArrayBuilder, ObjectBuilder, Ref, Schema, SchemaType, Type},
    },
};

use super::problem::Problem;

/// The most of a page.
const LARGEST: u32 = 200;
const USUAL: u32 = 50;

/// Which tenant, and which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The tenant, where it is not the caller's own.
    pub(super) tenant: Option<String>,
    /// `next` of the page before.
    pub(super) after: Option<String>,
    /// The most entries of a page: 1 to 200, usually 50.
    pub(super) limit: Option<u32>,
}

/// The most entries of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit(u32);

impl Limit {
    /// As asked for, or the usual number.
    pub(super) fn of(asked: Option<u32>) -> Result<Self, Problem> {
        match asked.unwrap_or(USUAL) {
            limit @ 1..=LARGEST => Ok(Self(limit)),
            _ => Err(Problem::invalid("limit", "it must be 1 to 200")),
        }
    }

    /// What to ask a store for: one more tells whether there is another page.
    pub(super) fn and_one(self) -> u32 {
        self.0 + 1
    }
}

/// A page of a list. Its schema is called after what is in it, as `GrantList` is; name it in a
/// description by an alias, since utoipa composes another name for what it sees to be generic.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> List<T> {
    /// The first of `found`, which are those after the page before; `place` is what an entry is asked
    /// for by, as `after`.
    pub(super) fn cut(
        limit: Limit,
        found: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> String,
    ) -> Self {
        let mut found = found.into_iter();
        let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
        let items: Vec<T> = found.by_ref().take(limit).collect();
        let last = items.last().filter(|_| found.next().is_some());
        Self {
            next: last.map(place),
            items,
        }
    }
}

impl<T: ToSchema> PartialSchema for List<T> {
    fn schema() -> RefOr<Schema> {
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some(
                "Ask with `after` set to this for the next page; null at the end.",
            ));
        ObjectBuilder::new()
            .description(Some("A page of a list."))
            .property(
                "items",
                ArrayBuilder::new().items(Ref::from_schema_name(T::name())),
            )
            .required("items")
            .property("next", next)
            .into()
    }
}

impl<T: ToSchema> ToSchema for List<T> {
    fn name() -> Cow<'static, str> {
        format!("{}List", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(limit: u32, found: impl IntoIterator<Item = u32>) -> (Vec<u32>, Option<String>) {
        let limit = Limit::of(Some(limit)).unwrap();
        let list = List::cut(limit, found, u32::to_string);
        (list.items, list.next)
    }

    #[test]
    fn a_page_names_the_next_one_only_where_there_is_more() {
        assert_eq!(cut(2, 1..=3), (vec![1, 2], Some("2".into())));
        assert_eq!(cut(2, 1..=2), (vec![1, 2], None));
        assert_eq!(cut(2, []), (vec![], None));
        // What does not end is not read to its end.
        assert_eq!(cut(1, 7..), (vec![7], Some("7".into())));
    }

    #[test]
    fn no_page_is_empty_or_too_large() {
        for (asked, fine) in [(0, false), (1, true), (200, true), (201, false)] {
            assert_eq!(Limit::of(Some(asked)).is_ok(), fine, "{asked}");
        }
        assert_eq!(Limit::of(None).unwrap().and_one(), 51);
    }
}
