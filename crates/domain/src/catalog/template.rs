/// Whether `uri` may be an expansion of the URI template: its literal parts come in order. The
/// upstream, which expands it, has the last word.
pub fn matches_template(template: &str, uri: &str) -> bool {
    let mut rest = uri;
    let mut literals = template.split('{').enumerate().map(|(at, part)| {
        // Before the first brace all is literal; later parts start inside an expression.
        if at == 0 {
            Some(part)
        } else {
            part.split_once('}').map(|(_, literal)| literal)
        }
    });
    let Some(Some(first)) = literals.next() else {
        return false;
    };
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    let mut last = first;
    for literal in literals {
        let Some(literal) = literal else { return false };
        let Some(at) = rest.find(literal) else {
            return false;
        };
        rest = &rest[at + literal.len()..];
        last = literal;
    }
    // A template that ends in a literal must end with it; one in an expression takes the rest.
    template.ends_with('}') || rest.is_empty() || uri.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches_template;

    #[test]
    fn templates_match_by_their_literal_parts() {
        for (template, uri, matches) in [
            ("file:///{path}", "file:///a/b", true),
            ("file:///{path}", "http://a", false),
            (
                "test://template/{id}/data",
                "test://template/123/data",
                true,
            ),
            (
                "test://template/{id}/data",
                "test://template/123/other",
                false,
            ),
            ("db://{table}/{row}", "db://orders/7", true),
            ("db://{table}/{row}", "db:/", false),
            ("a://{x", "a://1", false),
            ("plain://x", "plain://x", true),
        ] {
            assert_eq!(matches_template(template, uri), matches, "{template} {uri}");
        }
    }
}
