use std::{collections::BTreeSet, time::Duration};

use mcp_ultra_domain::{Attributes, DEFAULT_TENANT, Principal, PrincipalKind, Withdrawal};
use serde_json::Value;

use super::{ClaimPaths, Refused};

/// The longest subject and tenant, in bytes: both become parts of keys.
const LONGEST_NAME: usize = 256;

impl ClaimPaths {
    /// The principal that a verified token of the issuer with these claims would have.
    ///
    /// # Errors
    /// [`Refused::Claim`]: something that a principal needs is missing, or not a text.
    pub fn principal(&self, claims: &Value, issuer: &str) -> Result<Principal, Refused> {
        principal(claims, self, issuer, Duration::MAX, &Withdrawal::default())
    }
}

/// The principal of verified claims; its credential ends at `expires`, or with `withdrawal`.
pub(super) fn principal(
    claims: &Value,
    paths: &ClaimPaths,
    issuer: &str,
    expires: Duration,
    withdrawal: &Withdrawal,
) -> Result<Principal, Refused> {
    // RFC 9068, 2.2: a client on its own account is its own subject. Some issuers leave it out.
    let client = text(claims, "client_id").or_else(|| text(claims, "azp"));
    let subject = match claims.get("sub") {
        Some(subject) => subject.as_str().ok_or(Refused::Claim)?,
        None => client.ok_or(Refused::Claim)?,
    };
    let tenant = match &paths.tenant {
        // A token of no tenant must not be one of the default tenant.
        Some(path) => at(claims, path)
            .and_then(Value::as_str)
            .ok_or(Refused::Claim)?,
        None => DEFAULT_TENANT,
    };
    for name in [subject, tenant] {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
            return Err(Refused::Claim);
        }
    }
    let kind = kind(claims, paths, subject, client)?;
    let mut attributes = Attributes::new(kind, tenant, issuer, subject);
    attributes.roles = words(at(claims, paths.roles.as_deref().unwrap_or("roles")));
    attributes.scopes = match &paths.scopes {
        Some(path) => words(at(claims, path)),
        None => words(claims.get("scope").or_else(|| claims.get("scp"))),
    };
    attributes.expires = Some(expires);
    attributes.withdrawal = withdrawal.clone();
    Ok(attributes.into())
}

fn kind(
    claims: &Value,
    paths: &ClaimPaths,
    subject: &str,
    client: Option<&str>,
) -> Result<PrincipalKind, Refused> {
    let Some(path) = &paths.kind else {
        let itself = client.is_some_and(|client| client == subject);
        return Ok(if itself {
            PrincipalKind::Agent
        } else {
            PrincipalKind::User
        });
    };
    let named = at(claims, path).and_then(Value::as_str);
    named
        .and_then(PrincipalKind::parse)
        .filter(|kind| *kind != PrincipalKind::Anonymous)
        .ok_or(Refused::Claim)
}

fn text<'a>(claims: &'a Value, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// The value at a path. A claim whose name has dots in it (a URL) is found by its whole name.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.split('.')
        .try_fold(claims, |value, name| value.get(name))
}

/// A list as issuers write it: an array, or words between spaces (RFC 8693, 4.2).
fn words(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(claims: &Value, paths: &ClaimPaths) -> Result<Principal, Refused> {
        principal(
            claims,
            paths,
            "idp",
            Duration::from_secs(9),
            &Withdrawal::default(),
        )
    }

    #[test]
    fn claims_are_found_where_issuers_put_them() {
        let claims = json!({
            "sub": "ana", "scp": ["a", "b"], "realm_access": { "roles": ["admin"] },
            "https://example.com/tenant": "acme",
        });
        let paths = ClaimPaths {
            tenant: Some("https://example.com/tenant".into()),
            roles: Some("realm_access.roles".into()),
            ..ClaimPaths::default()
        };
        let principal = of(&claims, &paths).unwrap();
        let attributes = principal.attributes();
        assert_eq!(&**principal.tenant(), "acme");
        assert_eq!(attributes.kind, PrincipalKind::User);
        assert!(attributes.roles.contains("admin"));
        assert_eq!(attributes.scopes.len(), 2);
        assert_eq!(attributes.expires, Some(Duration::from_secs(9)));
        let scope = of(
            &json!({ "sub": "a", "scope": "x y", "client_id": "a" }),
            &ClaimPaths::default(),
        );
        let scope = scope.unwrap();
        assert!(scope.attributes().scopes.contains("y"));
        assert_eq!(scope.attributes().kind, PrincipalKind::Agent);
    }

    #[test]
    fn what_a_principal_needs_must_be_there() {
        let none = ClaimPaths::default();
        for claims in [
            json!({}),
            json!({ "sub": "" }),
            json!({ "sub": 7 }),
            json!({ "sub": "a\u{0}b" }),
            json!({ "sub": "x".repeat(LONGEST_NAME + 1) }),
        ] {
            assert_eq!(of(&claims, &none).unwrap_err(), Refused::Claim, "{claims}");
        }
        let tenant = ClaimPaths {
            tenant: Some("org.id".into()),
            ..ClaimPaths::default()
        };
        assert!(of(&json!({ "sub": "a", "org": { "id": "acme" } }), &tenant).is_ok());
        assert!(of(&json!({ "sub": "a" }), &tenant).is_err());
        let kind = ClaimPaths {
            kind: Some("kind".into()),
            ..ClaimPaths::default()
        };
        let workload = of(&json!({ "sub": "a", "kind": "workload" }), &kind).unwrap();
        assert_eq!(workload.attributes().kind, PrincipalKind::Workload);
        assert!(of(&json!({ "sub": "a", "kind": "anonymous" }), &kind).is_err());
    }
}
