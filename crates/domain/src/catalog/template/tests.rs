use std::{fmt::Write as _, time::Instant};

use proptest::{prelude::*, sample::select};

use super::*;

fn exact(template: &str, uri: &str) -> bool {
    found(&[template], uri).exact.len() == 1
}

fn possible(template: &str, uri: &str) -> bool {
    !found(&[template], uri).is_empty()
}

fn found(templates: &[&str], uri: &str) -> Templates {
    let of = |template: &&str| Template::new((*template).into());
    let templates: Vec<_> = templates.iter().map(of).collect();
    templates_of(&templates, uri)
}

#[test]
fn a_uri_is_of_every_template_that_expands_to_it() {
    let all = ["db://{table}", "db://{table}/rows/{id}", "db://{+any}"];
    let names = |of: &[usize]| -> Vec<ByteString> { of.iter().map(|at| all[*at].into()).collect() };
    let of = |uri: &str| {
        let found = found(&all, uri);
        (found.exact, found.possible)
    };
    assert_eq!(of("db://customers"), (names(&[0, 2]), names(&[])));
    let row = of("db://customers/rows/1");
    assert_eq!(row, (names(&[1, 2]), names(&[0])));
    // By the RFC this is the table of that name; a server that decodes first may disagree.
    let encoded = of("db://customers%2Frows%2F1");
    assert_eq!(encoded, (names(&[0, 2]), names(&[1])));
    assert_eq!(of("other://customers"), (names(&[]), names(&[])));
}

#[test]
fn expansions_are_those_of_the_rfc() {
    for (template, uri, expected) in [
        ("plain://x", "plain://x", true),
        ("plain://x", "plain://xy", false),
        ("file:///{path}", "file:///a", true),
        ("file:///{path}", "file:///a/b", false),
        ("file:///{path}", "file:///a?b", false),
        ("file:///{path}", "file:///a#b", false),
        ("file:///{path}", "file:///a b", false),
        ("file:///{path}", "file:///a%2", false),
        ("file:///{path}", "file:///", true),
        ("file:///{+path}", "file:///a/b?c#d", true),
        ("file://{/path}", "file:///a", true),
        ("file://{/path}", "file:///a/b", false),
        ("file://{/path*}", "file:///a/b", true),
        ("file://{/a,b}", "file:///a/b", true),
        ("file://{/a,b}", "file:///a/b/c", false),
        ("t://{id}/data", "t://123/data", true),
        ("t://{id}/data", "t://123/other", false),
        ("t://{id}/data", "t://1/2/data", false),
        ("t://a{.kind}", "t://a.b", true),
        ("t://a{.kind}", "t://ab", false),
        ("t://a{#part}", "t://a#b/c", true),
        ("t://a{;x,y}", "t://a;x=1;y", true),
        ("t://a{;x,y}", "t://a;z=1", false),
        ("t://a{?x,y}", "t://a?x=1&y=2", true),
        ("t://a{?x,y}", "t://a?y=2", true),
        ("t://a{?x,y}", "t://a", true),
        ("t://a{?x,y}", "t://a?z=2", false),
        ("t://a{?x}", "t://a?x=1&admin=1", false),
        ("t://a{?x*}", "t://a?k=1&l=2", true),
        ("t://a?f=1{&x}", "t://a?f=1&x=", true),
        ("t://{x:3}", "t://abc", true),
        ("t://{a-b}", "t://1", true),
        ("t://é/{x}", "t://%C3%A9/1", true),
        ("t://a%20b/{x}", "t://a%20b/1", true),
        ("T://{x}", "t://1", false),
        // Not valid, or of a later version of the RFC.
        ("a://{x", "a://1", false),
        ("a://x}", "a://x}", false),
        ("a://{}", "a://", false),
        ("a://{=x}", "a://1", false),
        ("a://{x:0}", "a://1", false),
        ("a://{x:3*}", "a://1", false),
        ("a://{x y}", "a://1", false),
    ] {
        assert_eq!(exact(template, uri), expected, "{template} {uri}");
    }
}

#[test]
fn what_a_lenient_server_may_find_is_possible() {
    for (template, uri) in [
        ("file:///{path}", "file:///a/b?c#d"),
        ("t://{id}/data", "t://1/2/data"),
        ("t://{id}/data", "T://1/DATA"),
        ("t://{id}/data", "t://1/x/../data"),
        ("t://{id}/data", "t://1/%64ata"),
        ("t://{id}/data", "t://1/da\tta"),
        ("t://{id}/data", "t://1\\data"),
        ("t://{id}/data", "t://1/data?x=1"),
        ("t://{id}/data", "t://1/data "),
        ("t://h/a/b/{x}", "t://h/a/c/../b/./1"),
        ("a://{x", "a://1"),
        ("a://{=x}/y", "a://1"),
    ] {
        assert!(possible(template, uri), "{template} {uri}");
        assert!(!exact(template, uri), "{template} {uri}");
    }
    for (template, uri) in [
        ("t://{id}/data", "t://1/other"),
        ("t://{id}/data", "u://1/data"),
        ("plain://x", "plain://xy"),
        ("a://{x", "b://1"),
    ] {
        assert!(!possible(template, uri), "{template} {uri}");
    }
}

#[test]
fn the_time_and_the_sizes_are_bounded() {
    let variables = "{a}".repeat(60);
    let lists = format!("{{{}}}", vec!["a*"; 60].join(","));
    let stuttering = "{a}a".repeat(60);
    let uri = format!("x://{}!", "a".repeat(LONGEST - 5));
    let hostile: Vec<Template> = (0..10_000)
        .map(|at| {
            let body = [&variables, &lists, &stuttering][at % 3];
            Template::new(format!("x://{body}").into())
        })
        .collect();
    let begin = Instant::now();
    let found = templates_of(&hostile, &uri);
    let taken = begin.elapsed().as_secs();
    assert!(taken < 5, "{taken} s");
    // None is taken for certain, and what was not compared is possible.
    assert!(found.exact.is_empty());
    assert!(found.possible.len() > 9_000, "{}", found.possible.len());
    // Past the bounds nothing is certain either.
    let long = format!("x://{}", "a".repeat(LONGEST));
    assert!(possible("x://{a}", &long) && !exact("x://{a}", &long));
    let template = format!("x://{}{{a}}", "b".repeat(LONGEST));
    let uri = template.replace("{a}", "1");
    assert!(possible(&template, &uri) && !exact(&template, &uri));
    let many = format!("x://{}", "{a}".repeat(65));
    assert!(possible(&many, "x://1") && !exact(&many, "x://1"));
}

/// What a variable is expanded with (RFC 6570, section 2.3).
#[derive(Debug, Clone)]
enum Value {
    Undefined,
    Text(String),
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

fn value() -> impl Strategy<Value = Value> {
    let text = || proptest::string::string_regex("[a-z/?#%é ,;=&.!{}]{0,4}").unwrap();
    let members = || proptest::collection::vec((text(), text()), 1..3);
    prop_oneof![
        Just(Value::Undefined),
        text().prop_map(Value::Text),
        members().prop_map(|list| Value::List(list.into_iter().map(|(one, _)| one).collect())),
        members().prop_map(Value::Map),
    ]
}

/// A part of a template: a literal, or an operator and variables with what stands after the name.
type Piece = Result<&'static str, (&'static str, Vec<(&'static str, Value)>)>;

fn piece() -> impl Strategy<Value = Piece> {
    let operator = select(&["", "+", "#", ".", "/", ";", "?", "&"][..]);
    let variable = (select(&["", "*", ":2"][..]), value());
    prop_oneof![
        select(&["x://", "/rows/", "a", "é", "%2F", "?k=v", "100%-"][..]).prop_map(Ok),
        (operator, proptest::collection::vec(variable, 1..4)).prop_map(Err),
    ]
}

/// RFC 6570, section 3.2.1: encodes all but what may stand as it is.
fn encode(text: &str, reserved: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        let stays = byte.is_ascii_alphanumeric()
            || b"-._~".contains(byte)
            || (reserved && b":/?#[]@!$&'()*+,;=".contains(byte))
            || (reserved
                && *byte == b'%'
                && bytes
                    .get(at + 1..at + 3)
                    .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)));
        if stays {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// RFC 6570, appendix A.
fn expand(operator: &str, variables: &[(&str, Value)]) -> String {
    let (first, separator, named, empty, reserved) = match operator {
        "+" => ("", ",", false, "", true),
        "#" => ("#", ",", false, "", true),
        "." => (".", ".", false, "", false),
        "/" => ("/", "/", false, "", false),
        ";" => (";", ";", true, "", false),
        "?" => ("?", "&", true, "=", false),
        "&" => ("&", "&", true, "=", false),
        _ => ("", ",", false, "", false),
    };
    let encode = |text: &str| encode(text, reserved);
    let of_name = |name: &str, value: &str| {
        if value.is_empty() {
            format!("{name}{empty}")
        } else {
            format!("{name}={value}")
        }
    };
    let mut all = Vec::new();
    for (at, (modifier, value)) in variables.iter().enumerate() {
        let name = format!("v{at}");
        let whole = |value: String| {
            if named { of_name(&name, &value) } else { value }
        };
        let joined = |list: &[String]| {
            let list: Vec<_> = list.iter().map(|one| encode(one)).collect();
            list.join(",")
        };
        match value {
            Value::Undefined => {}
            Value::Text(text) if *modifier == ":2" => {
                all.push(whole(encode(&text.chars().take(2).collect::<String>())));
            }
            Value::Text(text) => all.push(whole(encode(text))),
            Value::List(list) if *modifier == "*" => {
                all.extend(list.iter().map(|one| whole(encode(one))));
            }
            Value::List(list) => all.push(whole(joined(list))),
            Value::Map(map) if *modifier == "*" => {
                let pairs = map.iter().map(|(key, one)| (encode(key), encode(one)));
                all.extend(pairs.map(|(key, one)| {
                    if named {
                        of_name(&key, &one)
                    } else {
                        format!("{key}={one}")
                    }
                }));
            }
            Value::Map(map) => {
                let flat: Vec<_> = map
                    .iter()
                    .flat_map(|(key, one)| [key.clone(), one.clone()])
                    .collect();
                all.push(whole(joined(&flat)));
            }
        }
    }
    if all.is_empty() {
        return String::new();
    }
    format!("{first}{}", all.join(separator))
}

fn literal(text: &str) -> String {
    // A sign of percent that begins no encoded byte is encoded itself.
    encode(text, true)
}

proptest! {
    #[test]
    fn what_a_template_expands_to_is_of_it(pieces in proptest::collection::vec(piece(), 1..6)) {
        let (mut template, mut uri) = (String::new(), String::new());
        for piece in &pieces {
            match piece {
                Ok(text) => {
                    template.push_str(text);
                    uri.push_str(&literal(text));
                }
                Err((operator, variables)) => {
                    let names = variables.iter().enumerate();
                    let names: Vec<_> =
                        names.map(|(at, (modifier, _))| format!("v{at}{modifier}")).collect();
                    let _ = write!(template, "{{{operator}{}}}", names.join(","));
                    uri.push_str(&expand(operator, variables));
                }
            }
        }
        prop_assert!(exact(&template, &uri), "{} {}", template, uri);
    }

    #[test]
    fn no_template_and_no_uri_is_too_odd(template in ".{0,40}", uri in ".{0,40}") {
        let found = found(&[&template], &uri);
        prop_assert!(found.exact.len() + found.possible.len() <= 1);
    }
}
