use std::collections::BTreeSet;

use mcp_ultra_domain::AuthorizationDetail;
use serde_json::{Map, Value};

use super::Refused;

/// The most that one token may allow in detail, with a pair of action and location each.
const MOST: usize = 256;
/// The longest text in a detail, in bytes.
const LONGEST: usize = 1024;

/// What a token allows in detail: its claim `authorization_details` (RFC 9396, 9.1). Who has asked
/// for less than the scopes alone would say must not get it because the claim can't be read, so a
/// malformed one refuses the token.
///
/// # Errors
/// [`Refused::Claim`]: it is not an array of objects with a `type`, a member that RFC 9396, 2.2
/// defines is of another kind than it says, or there is too much of it.
pub fn authorization_details(claims: &Value) -> Result<BTreeSet<AuthorizationDetail>, Refused> {
    let Some(claim) = claims.get("authorization_details") else {
        return Ok(BTreeSet::new());
    };
    let mut all = BTreeSet::new();
    for detail in claim.as_array().ok_or(Refused::Claim)? {
        let detail = detail.as_object().ok_or(Refused::Claim)?;
        let kind = text(detail.get("type").ok_or(Refused::Claim)?)?;
        if kind.is_empty() {
            return Err(Refused::Claim);
        }
        let identifier = detail.get("identifier").map_or(Ok(String::new()), text)?;
        let (actions, locations) = (texts(detail, "actions")?, texts(detail, "locations")?);
        let known = ["type", "actions", "locations", "identifier"];
        let more = detail.keys().any(|name| !known.contains(&name.as_str()));
        for (action, location) in pairs(&actions, &locations) {
            all.insert(AuthorizationDetail {
                kind: kind.clone(),
                action: action.clone(),
                location: location.clone(),
                identifier: identifier.clone(),
                more,
            });
            if all.len() > MOST {
                return Err(Refused::Claim);
            }
        }
    }
    Ok(all)
}

fn pairs<'a>(
    actions: &'a [String],
    locations: &'a [String],
) -> impl Iterator<Item = (&'a String, &'a String)> {
    actions
        .iter()
        .flat_map(|action| locations.iter().map(move |location| (action, location)))
}

/// The texts of a member; an empty one where there is no such member. A member without elements
/// allows nothing.
fn texts(detail: &Map<String, Value>, name: &str) -> Result<Vec<String>, Refused> {
    let Some(value) = detail.get(name) else {
        return Ok(vec![String::new()]);
    };
    let elements = value.as_array().ok_or(Refused::Claim)?;
    if elements.len() > MOST {
        return Err(Refused::Claim);
    }
    elements.iter().map(text).collect()
}

fn text(value: &Value) -> Result<String, Refused> {
    let text = value.as_str().filter(|text| text.len() <= LONGEST);
    text.map(str::to_owned).ok_or(Refused::Claim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Parts = (String, String, String, String, bool);

    fn of(claim: &Value) -> Result<Vec<Parts>, Refused> {
        let all = authorization_details(&json!({ "authorization_details": claim }))?;
        let parts = |one: AuthorizationDetail| {
            let AuthorizationDetail {
                kind,
                action,
                location,
                identifier,
                more,
            } = one;
            (kind, action, location, identifier, more)
        };
        Ok(all.into_iter().map(parts).collect())
    }

    #[test]
    fn a_detail_is_one_for_each_action_and_location() {
        let said = |kind: &str, action: &str, location: &str, identifier: &str, more| {
            let text = str::to_owned;
            (
                text(kind),
                text(action),
                text(location),
                text(identifier),
                more,
            )
        };
        let several = json!([
            { "type": "t", "actions": ["read", "write"], "locations": ["https://a", "https://b"] },
            { "type": "u", "identifier": "7" },
            { "type": "v", "actions": ["pay"], "amount": { "EUR": 5 } },
            { "type": "w", "actions": [] },
        ]);
        let expected = vec![
            said("t", "read", "https://a", "", false),
            said("t", "read", "https://b", "", false),
            said("t", "write", "https://a", "", false),
            said("t", "write", "https://b", "", false),
            said("u", "", "", "7", false),
            said("v", "pay", "", "", true),
        ];
        assert_eq!(of(&several).unwrap(), expected);
        assert!(of(&json!([])).unwrap().is_empty());
        assert!(authorization_details(&json!({})).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_as_it_should_be_refuses_the_token() {
        let many: Vec<String> = (0..17).map(|at| at.to_string()).collect();
        for claim in [
            json!(null),
            json!("t"),
            json!({ "type": "t" }),
            json!(["t"]),
            json!([{ "type": "t" }, {}]),
            json!([{ "type": "" }]),
            json!([{ "type": 7 }]),
            json!([{ "type": "t", "actions": "read" }]),
            json!([{ "type": "t", "actions": [1] }]),
            json!([{ "type": "t", "locations": null }]),
            json!([{ "type": "t", "identifier": ["7"] }]),
            json!([{ "type": "x".repeat(LONGEST + 1) }]),
            json!([{ "type": "t", "actions": many, "locations": many }]),
        ] {
            assert_eq!(of(&claim), Err(Refused::Claim), "{claim}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
        ];
        let names = prop_oneof![
            Just("type".to_owned()),
            Just("actions".to_owned()),
            Just("locations".to_owned()),
            Just("identifier".to_owned()),
            "[a-z]{1,3}",
        ];
        leaf.prop_recursive(3, 32, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(names.clone(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_token_says_is_bounded_or_refused(claim in any_json()) {
            if let Ok(all) = of(&claim) {
                prop_assert!(all.len() <= MOST && all.iter().all(|one| !one.0.is_empty()));
            }
        }
    }
}
