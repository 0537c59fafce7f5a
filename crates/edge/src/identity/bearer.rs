use http::{HeaderMap, header::AUTHORIZATION};

use super::{LONGEST_TOKEN, Refused};

/// How a token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// By itself (RFC 6750).
    Bearer,
    /// With a proof of the key that it is bound to (RFC 9449, 7.1).
    Dpop,
}

/// The token of a request, and how it is presented (RFC 6750, 2.1; RFC 9449, 7.1). Tokens in query
/// or body are not looked for (MCP, Authorization, Token Requirements).
///
/// # Errors
/// [`Refused::Missing`], [`Refused::Several`], [`Refused::TooLarge`] and [`Refused::Malformed`].
pub fn presented(headers: &HeaderMap) -> Result<(Scheme, &str), Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refused::Missing)?;
    if values.next().is_some() {
        return Err(Refused::Several);
    }
    let bytes = value.as_bytes();
    if bytes.len() > LONGEST_TOKEN + "Bearer ".len() {
        return Err(Refused::TooLarge);
    }
    let text = value.to_str().map_err(|_| Refused::Malformed)?;
    let Some((scheme, token)) = text.split_once(' ') else {
        return Err(Refused::Missing);
    };
    let scheme = if scheme.eq_ignore_ascii_case("bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case("dpop") {
        Scheme::Dpop
    } else {
        return Err(Refused::Missing);
    };
    let token = token.trim_matches(' ');
    // What it is made of is looked at once, when it is read, and not with every request.
    if token.is_empty() {
        return Err(Refused::Malformed);
    }
    Ok((scheme, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<String, Refused> {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(AUTHORIZATION, value.parse().unwrap());
        }
        presented(&map).map(|(_, token)| token.to_owned())
    }

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        assert_eq!(of(&["Bearer a.b.c"]).unwrap(), "a.b.c");
        assert_eq!(of(&["bearer  a.b.c"]).unwrap(), "a.b.c");
        assert_eq!(of(&[]), Err(Refused::Missing));
        assert_eq!(of(&["Basic abc"]), Err(Refused::Missing));
        assert_eq!(of(&["DPoP a.b.c"]).unwrap(), "a.b.c");
        assert_eq!(of(&["Bearer"]), Err(Refused::Missing));
        assert_eq!(of(&["Bearer "]), Err(Refused::Malformed));
        assert_eq!(of(&["Bearer a", "Bearer a"]), Err(Refused::Several));
        assert_eq!(of(&["Bearer \u{e4}"]), Err(Refused::Malformed));
        let long = format!("Bearer {}", "a".repeat(LONGEST_TOKEN + 1));
        assert_eq!(of(&[&long]), Err(Refused::TooLarge));
    }
    #[test]
    fn a_token_comes_with_a_proof_or_without() {
        let mut map = HeaderMap::new();
        for (text, scheme) in [("dpop a", Scheme::Dpop), ("BEARER a", Scheme::Bearer)] {
            map.insert(AUTHORIZATION, text.parse().unwrap());
            assert_eq!(presented(&map), Ok((scheme, "a")));
        }
    }
}
