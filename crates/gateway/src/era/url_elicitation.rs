//! An upstream of 2025-11-25 that needs a URL elicitation first answers with an error that names
//! it (2025-11-25, Elicitation, URL Elicitation Required Error). A modern caller is asked the way
//! it knows, and calls again.

use mcp_ultra_protocol::{
    error,
    json::{self, Object},
};

/// How many elicitations of one error are carried.
const MAX: usize = 16;

/// Whether the text of an error is that one.
pub(super) fn is_required(error: &str) -> bool {
    Object::parse(error)
        .ok()
        .and_then(|error| error.get("code")?.parse::<i64>().ok())
        == Some(error::URL_ELICITATION_REQUIRED)
}

/// The `input_required` result that asks for the elicitations which the error names; `None` where
/// it names none.
pub(super) fn input_required(error: &str) -> Option<String> {
    let object = Object::parse(error).ok()?;
    let data = object.get_object("data").ok()??;
    let requests: Vec<String> = json::elements(data.get("elicitations")?)?
        .into_iter()
        .filter_map(|elicitation| {
            let elicitation = Object::parse(elicitation).ok()?;
            let is_url = elicitation
                .get_str("mode")
                .is_some_and(|mode| mode == "url");
            // The id was removed with 2026-07-28.
            (is_url && elicitation.get("url").is_some())
                .then(|| elicitation.edit().remove("elicitationId").finish())
        })
        .take(MAX)
        .enumerate()
        .map(|(at, params)| {
            format!("\"url-{at}\":{{\"method\":\"elicitation/create\",\"params\":{params}}}")
        })
        .collect();
    (!requests.is_empty()).then(|| {
        format!(
            "{{\"resultType\":\"input_required\",\"inputRequests\":{{{}}}}}",
            requests.join(",")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_becomes_a_request_for_input() {
        let error = r#"{"code":-32042,"message":"m","data":{"elicitations":[
            {"mode":"url","elicitationId":"e1","url":"https://a.example/1","message":"Sign in"},
            {"mode":"form"}]}}"#;
        assert!(is_required(error));
        let asked = input_required(error).unwrap();
        let asked: serde_json::Value = serde_json::from_str(&asked).unwrap();
        let requests = asked["inputRequests"].as_object().unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests["url-0"]["method"], "elicitation/create");
        assert_eq!(requests["url-0"]["params"]["url"], "https://a.example/1");
        assert!(requests["url-0"]["params"].get("elicitationId").is_none());
    }

    #[test]
    fn other_errors_stay_errors() {
        assert!(!is_required(r#"{"code":-32603,"message":"m"}"#));
        assert_eq!(input_required(r#"{"code":-32042,"message":"m"}"#), None);
        assert_eq!(
            input_required(r#"{"code":-32042,"message":"m","data":{"elicitations":[]}}"#),
            None
        );
    }
}
