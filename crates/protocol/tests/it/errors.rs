//! Errors of every code, against the schema of every revision that has them.

use mcp_ultra_protocol::{
    Body, Era, Id, Message, Outcome, Response, Version, WireError, error as code,
};

use crate::schema::{assert_valid, definitions, value};

/// Every error that the gateway makes, with the definition that 2026-07-28 has for it: of the
/// error object for the codes of JSON-RPC, of the whole response for those of MCP.
fn all() -> Vec<(WireError, Option<&'static str>)> {
    vec![
        (
            WireError::parse("not JSON: \"\u{0}\n\""),
            Some("ParseError"),
        ),
        (
            WireError::invalid_request("no \"id\""),
            Some("InvalidRequestError"),
        ),
        (
            WireError::method_not_found(&"é\"".repeat(300)),
            Some("MethodNotFoundError"),
        ),
        (
            WireError::invalid_params("Unknown tool: x"),
            Some("InvalidParamsError"),
        ),
        (
            WireError::internal("the upstream failed"),
            Some("InternalError"),
        ),
        (
            WireError::header_mismatch("Mcp-Name is missing"),
            Some("HeaderMismatchError"),
        ),
        (
            WireError::unsupported_version("1900-01-01"),
            Some("UnsupportedProtocolVersionError"),
        ),
        (
            WireError::missing_capability(r#"{"elicitation":{"url":{}},"sampling":{}}"#),
            Some("MissingRequiredClientCapabilityError"),
        ),
        (
            WireError::resource_not_found("file:///\"a\"", Era::Modern),
            Some("InvalidParamsError"),
        ),
        (
            WireError::resource_not_found("file:///a", Era::Legacy),
            None,
        ),
        (
            WireError::internal("later").with_data(r#"{"retryAfterMs":50,"big":1e400}"#),
            None,
        ),
    ]
}

#[test]
fn every_error_is_valid_in_every_revision() {
    for (error, modern) in all() {
        for id in ["7", "\"seven\""] {
            let id = Id::from_raw(id.into()).unwrap();
            let response = Response::error(Some(&id), &error);
            let message = value(&response.text);
            for version in Version::ALL {
                assert_valid(version, "JSONRPCMessage", &message);
                let definition = if version >= Version::V2025_11_25 {
                    "JSONRPCErrorResponse"
                } else {
                    "JSONRPCError"
                };
                assert_valid(version, definition, &message);
            }
            let Some(definition) = modern else { continue };
            let is_response = definitions(Version::LATEST)[definition]["properties"]
                .get("jsonrpc")
                .is_some();
            let checked = if is_response {
                &message
            } else {
                &message["error"]
            };
            assert_valid(Version::LATEST, definition, checked);
        }
    }
}

#[test]
fn every_error_is_read_back_as_it_was_written() {
    for (error, _) in all() {
        for id in [None, Some(Id::from(3))] {
            let response = Response::error(id.as_ref(), &error);
            let body = Body::parse(response.text.clone().into_bytes()).unwrap();
            let Body::Single(Message::Response(read)) = body else {
                panic!("a response: {}", response.text)
            };
            assert_eq!(read.id, id);
            assert!(matches!(&read.outcome, Outcome::Error(text) if *text == error.to_json()));
            let own = Id::from_raw("\"own\"".into()).unwrap();
            assert_eq!(read.with_id(&own).id, Some(own));
        }
    }
}

#[test]
fn no_code_of_the_latest_revision_is_without_an_error() {
    let made: Vec<&str> = all().into_iter().filter_map(|(_, name)| name).collect();
    let missing: Vec<&String> = definitions(Version::LATEST)
        .keys()
        .filter(|name| name.ends_with("Error") && *name != "Error")
        .filter(|name| !made.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_url_elicitation_error_of_2025_11_25_passes_through() {
    let error = r#"{"code":-32042,"message":"Sign in first","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://auth.example.com/","message":"Sign in"}]}}"#;
    let response = Response::raw_error(&Id::from(1), error);
    assert_valid(
        Version::V2025_11_25,
        "URLElicitationRequiredError",
        &value(&response.text),
    );
    assert_eq!(value(error)["code"], code::URL_ELICITATION_REQUIRED);
}
