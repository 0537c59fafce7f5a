use std::{collections::BTreeSet, time::Duration};

use mcp_ultra_domain::{Attributes, DEFAULT_TENANT, Login, Principal, PrincipalKind, Withdrawal};
use serde_json::Value;

use super::{ClaimPaths, Refused, details::authorization_details, verify::time};

/// The longest subject and tenant, in bytes: both become parts of keys.
const LONGEST_NAME: usize = 256;

/// The times of a verified token, since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The latest time that may be past for the issuer's clock.
    pub latest: Duration,
    /// When the token ends.
    pub expires: Duration,
}

impl ClaimPaths {
    /// The principal that a verified token of the issuer with these claims would have. `latest` is
    /// the time since the Unix epoch with the skew of clocks: nobody has logged in after it.
    ///
    /// # Errors
    /// [`Refused::Claim`]: something that a principal needs is missing, or not a text.
    pub fn principal(
        &self,
        claims: &Value,
        issuer: &str,
        latest: Duration,
    ) -> Result<Principal, Refused> {
        let times = Times {
            latest,
            expires: Duration::MAX,
        };
        principal(claims, self, issuer, times, &Withdrawal::default())
    }
}

/// The principal of verified claims; its credential ends at its time, or with `withdrawal`.
pub(super) fn principal(
    claims: &Value,
    paths: &ClaimPaths,
    issuer: &str,
    times: Times,
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
    attributes.authorization_details = authorization_details(claims)?;
    attributes.login = login(claims, times.latest);
    attributes.expires = Some(times.expires);
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

/// What the token says of the login that it was issued for (RFC 9068, 2.2.1). A claim that is not
/// what `OpenID` Connect Core, 2 says is as if it were not there: policies ask for the strength that
/// they need, so nobody gets more by it, and tokens are good with whom nobody asks.
pub(super) fn login(claims: &Value, latest: Duration) -> Login {
    let methods = claims.get("amr").and_then(Value::as_array);
    let methods = methods.and_then(|methods| {
        let texts = methods.iter().map(|one| one.as_str().map(str::to_owned));
        texts.collect::<Option<BTreeSet<_>>>()
    });
    Login {
        acr: text(claims, "acr").map(str::to_owned),
        amr: methods.unwrap_or_default(),
        // One in the future would be a recent login for ever.
        auth_time: time(claims, "auth_time")
            .ok()
            .flatten()
            .filter(|time| *time <= latest),
    }
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
        let times = Times {
            latest: Duration::from_secs(5),
            expires: Duration::from_secs(9),
        };
        principal(claims, paths, "idp", times, &Withdrawal::default())
    }

    #[test]
    fn what_a_token_says_of_the_login_is_believed_where_it_is_said_as_it_should() {
        let login = |claims: Value| {
            let mut whole = json!({ "sub": "ana" });
            let members = whole.as_object_mut().unwrap();
            members.extend(claims.as_object().unwrap().clone());
            let principal = of(&whole, &ClaimPaths::default()).unwrap();
            principal.attributes().login.clone()
        };
        let said = login(json!({ "acr": "gold", "amr": ["mfa", "pwd"], "auth_time": 5 }));
        assert_eq!(said.acr.as_deref(), Some("gold"));
        assert_eq!(said.amr, ["mfa", "pwd"].map(str::to_owned).into());
        assert_eq!(said.auth_time, Some(Duration::from_secs(5)));
        let early = login(json!({ "auth_time": 1.5 }));
        assert_eq!(early.auth_time, Some(Duration::from_millis(1500)));
        // Each of these is nothing, and takes nothing else with it.
        for (name, value) in [
            ("acr", json!(2)),
            ("acr", json!(["gold"])),
            ("acr", json!(null)),
            ("amr", json!("mfa")),
            ("amr", json!(["mfa", 1])),
            ("amr", json!({ "mfa": true })),
            ("auth_time", json!("5")),
            ("auth_time", json!(6)),
            ("auth_time", json!(f64::MAX)),
            ("auth_time", json!(null)),
        ] {
            let mut claims = json!({ "acr": "gold", "amr": ["mfa"], "auth_time": 5 });
            claims[name] = value;
            let login = login(claims.clone());
            assert_eq!(login.acr.is_none(), name == "acr", "{claims}");
            assert_eq!(login.amr.is_empty(), name == "amr", "{claims}");
            assert_eq!(login.auth_time.is_none(), name == "auth_time", "{claims}");
        }
        assert_eq!(login(json!({})), Login::default());
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
