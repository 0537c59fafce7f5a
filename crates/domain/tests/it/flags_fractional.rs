//! Shares, against flagd: the expected variants are those of open-feature/flagd-testbed
//! (`fractional-v2`, what flagd itself does), which anybody else's evaluator is held to as well.

use mcp_ultra_domain::flags::{Flags, Reason};
use serde_json::{Value as Json, json};

use crate::flags::{answer, caller, ruled};

const SUITS: [&str; 5] = ["clubs", "diamonds", "hearts", "spades", "wild"];

fn suits(by: &Json) -> Json {
    json!({"fractional": [by, ["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]]})
}

fn variant(flags: &Flags, key: &str, attributes: &Json) -> Option<String> {
    let ana = caller("acme", "ana", &[]);
    answer(flags, key, &ana, attributes, |details| {
        details.variant.map(str::to_owned)
    })
}

#[test]
fn shares_are_those_of_flagd() {
    let own = json!({"cat": [{"var": "$flagd.flagKey"}, {"var": "user.name"}]});
    let own = ruled("fractional-flag", &SUITS, &suits(&own));
    let shared = json!({"cat": ["shared-seed", {"var": "user.name"}]});
    let shared = ruled("a", &SUITS, &suits(&shared));
    let edge = json!({"fractional": [{"var": "user.name"}, ["lower", 50], ["upper", 50]]});
    let edge = ruled("fractional-hash-edge-flag", &["lower", "upper"], &edge);
    for (flags, key, cases) in [
        (
            &own,
            "fractional-flag",
            &[
                ("jack", "hearts"),
                ("queen", "spades"),
                ("ten", "clubs"),
                ("nine", "diamonds"),
                ("3", "clubs"),
            ][..],
        ),
        (
            &shared,
            "a",
            &[
                ("seven", "hearts"),
                ("eight", "diamonds"),
                ("nine", "clubs"),
                ("two", "spades"),
            ][..],
        ),
        (
            &edge,
            "fractional-hash-edge-flag",
            &[
                ("ejOoVL", "lower"),
                ("bY9fO-", "lower"),
                ("SI7p-", "lower"),
                ("6LvT0", "upper"),
                ("ceQdGm", "upper"),
            ][..],
        ),
    ] {
        for (name, expected) in cases {
            let found = variant(flags, key, &json!({"user": {"name": name}}));
            assert_eq!(found.as_deref(), Some(*expected), "{key} {name}");
        }
    }
}

#[test]
fn variants_and_weights_may_be_rules() {
    let premium = json!({"==": [{"var": "tier"}, "premium"]});
    let key = json!({"var": "key"});
    let names = json!({"fractional": [key, [{"if": [premium, "premium", "standard"]}, 50], ["standard", 50]]});
    let names = ruled("n", &["premium", "standard"], &names);
    let weights = json!({"fractional": [key, ["red", {"if": [premium, 100, 0]}], ["blue", 10]]});
    let weights = ruled("w", &["blue", "red"], &weights);
    for (who, tier, name, colour) in [
        ("jon@company.com", "premium", "premium", "red"),
        ("jon@company.com", "basic", "standard", "blue"),
        ("user1", "premium", "standard", "red"),
        ("user1", "basic", "standard", "blue"),
    ] {
        let attributes = json!({"key": who, "tier": tier});
        assert_eq!(variant(&names, "n", &attributes).as_deref(), Some(name));
        assert_eq!(variant(&weights, "w", &attributes).as_deref(), Some(colour));
    }
    for (buckets, expected) in [
        (json!([["a", -50], ["b", 1]]), Some("b")),
        (json!([["a", 0], ["b", 0]]), Some("a")),
        (json!([["b", null]]), Some("b")),
    ] {
        let flags = ruled("f", &["a", "b"], &json!({ "fractional": buckets }));
        assert_eq!(
            variant(&flags, "f", &Json::Null).as_deref(),
            expected,
            "{buckets}"
        );
    }
}

#[test]
fn who_is_not_known_has_no_share() {
    let flags = ruled("f", &["a", "b"], &json!({"fractional": [["b", 100]]}));
    let nobody = mcp_ultra_domain::Principal::anonymous();
    let found = answer(&flags, "f", &nobody, &Json::Null, |details| {
        (details.variant.map(str::to_owned), details.reason)
    });
    assert_eq!(found, (Some("a".to_owned()), Reason::Default));
    let ana = caller("acme", "ana", &[]);
    answer(&flags, "f", &ana, &Json::Null, |details| {
        assert_eq!(
            (details.variant, details.reason),
            (Some("b"), Reason::Split)
        );
    });
    let number = json!({"fractional": [{"+": [1]}, ["b", 100]]});
    let flags = ruled("f", &["a", "b"], &number);
    assert_eq!(variant(&flags, "f", &Json::Null).as_deref(), Some("a"));
}

/// The variants of so many callers.
fn spread(flags: &Flags, count: usize) -> Vec<String> {
    let callers = (0..count).map(|at| caller("acme", &format!("person-{at}"), &[]));
    callers
        .map(|who| {
            answer(flags, "f", &who, &Json::Null, |details| {
                details.variant.unwrap().to_owned()
            })
        })
        .collect()
}

#[test]
fn shares_are_as_large_as_their_weights_and_stay_where_they_are() {
    const COUNT: usize = 20_000;
    let with = |buckets: Json| ruled("f", &["a", "b", "c"], &json!({ "fractional": buckets }));
    let share = |all: &[String], name: &str| {
        let count = all.iter().filter(|variant| *variant == name).count();
        (count * 1_000 + COUNT / 2) / COUNT
    };
    let before = spread(&with(json!([["a", 10], ["b", 90]])), COUNT);
    assert!(
        (90..=110).contains(&share(&before, "a")),
        "{}",
        share(&before, "a")
    );
    assert_eq!(before, spread(&with(json!([["a", 10], ["b", 90]])), COUNT));
    // A larger share has all that had the smaller one.
    let more = spread(&with(json!([["a", 30], ["b", 70]])), COUNT);
    assert!((285..=315).contains(&share(&more, "a")));
    assert!(
        before
            .iter()
            .zip(&more)
            .all(|(before, after)| before != "a" || after == "a")
    );
    // A variant more, out of the last one's share, moves those alone who get it.
    let third = spread(&with(json!([["a", 10], ["b", 80], ["c", 10]])), COUNT);
    assert!((90..=110).contains(&share(&third, "c")));
    assert!(
        before
            .iter()
            .zip(&third)
            .all(|(before, after)| before == after || after == "c")
    );
}
