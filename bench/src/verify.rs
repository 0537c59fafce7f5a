//! Is this the answer to that call? Every response is checked in full: status, id and the whole
//! text. Bytes that came through unchanged are compared; anything else is parsed first, so that a
//! proxy may write the same JSON differently.

use memchr::memmem;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    payload::{Form, Size, text},
    wire::Response,
};

/// What an answer must bring.
#[derive(Debug)]
pub(crate) struct Expected {
    /// One text; a list of tools where there is none.
    text: Option<String>,
    /// `"text":"…"` as the upstream writes it, or how a list begins.
    written: Vec<u8>,
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    result: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default, alias = "contents")]
    content: Vec<Content>,
    #[serde(default)]
    tools: Vec<IgnoredAny>,
    #[serde(default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Content {
    text: String,
}

impl Expected {
    /// The text of this size.
    pub(crate) fn new(size: Size) -> Self {
        let text = text(size);
        let written = format!("\"text\":{}", serde_json::json!(text)).into_bytes();
        let text = Some(text);
        Self { text, written }
    }

    /// A list of tools.
    pub(crate) fn list() -> Self {
        Self {
            text: None,
            written: b"\"tools\":[{".to_vec(),
        }
    }

    /// The form that the right answer came in, or what is wrong with it.
    pub(crate) fn check(&self, response: &Response<'_>, id: u64) -> Result<Form, String> {
        if response.status != 200 {
            let body = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]);
            return Err(format!("status {}: {body}", response.status));
        }
        let form = if response.events {
            Form::Sse
        } else {
            Form::Json
        };
        let message = message_of(response).ok_or("a stream without a result")?;
        if self.unchanged(message, id) {
            return Ok(form);
        }
        let answer: Answer = serde_json::from_slice(message).map_err(|error| {
            let start = String::from_utf8_lossy(&message[..message.len().min(200)]);
            format!("not a result ({error}): {start}")
        })?;
        if answer.id != id {
            return Err(format!("the answer to {} came for {id}", answer.id));
        }
        match (&self.text, answer.result.content.as_slice()) {
            (Some(text), [content]) if content.text == *text && !answer.result.is_error => Ok(form),
            (None, []) if !answer.result.tools.is_empty() => Ok(form),
            _ => Err("a result with another content".to_owned()),
        }
    }

    fn unchanged(&self, message: &[u8], id: u64) -> bool {
        // The id stands near the start or near the end, whichever order a proxy writes.
        let near = 128.min(message.len());
        let written = format!("\"id\":{id}");
        let has_id = memmem::find(&message[..near], written.as_bytes()).is_some()
            || memmem::find(&message[message.len() - near..], written.as_bytes()).is_some();
        let key = self
            .written
            .split(|byte| *byte == b':')
            .next()
            .unwrap_or_default();
        let start = memmem::find(&message[..message.len().min(512)], key);
        has_id && start.is_some_and(|start| message[start..].starts_with(&self.written))
    }
}

/// The JSON-RPC response in a response of either form; `None` for a stream without one.
pub(crate) fn message_of<'a>(response: &Response<'a>) -> Option<&'a [u8]> {
    if response.events {
        last_message(response.body)
    } else {
        Some(response.body)
    }
}

/// The data of the last event that holds a result (server-sent events, one `data:` line each).
fn last_message(body: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    let mut last = None;
    for end in memchr::memchr_iter(b'\n', body).chain([body.len()]) {
        let line = body[from..end]
            .strip_suffix(b"\r")
            .unwrap_or(&body[from..end]);
        from = end + 1;
        if let Some(data) = line.strip_prefix(b"data:")
            && memmem::find(data, b"\"result\"").is_some()
        {
            last = Some(data.trim_ascii());
        }
        if from > body.len() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, events: bool, body: &[u8]) -> Response<'_> {
        Response {
            status,
            events,
            session: None,
            body,
        }
    }

    fn answer(id: u64, text: &str) -> String {
        serde_json::json!({
            "jsonrpc": "2.0", "id": id,
            "result": { "content": [{ "type": "text", "text": text }] }
        })
        .to_string()
    }

    #[test]
    fn the_right_answer_in_both_forms_and_in_another_spelling() {
        let expected = Expected::new(Size::Medium);
        let right = answer(7, &text(Size::Medium));
        assert_eq!(
            expected.check(&response(200, false, right.as_bytes()), 7),
            Ok(Form::Json)
        );
        let stream = format!(": open\n\nevent: message\ndata: {right}\n\n");
        assert_eq!(
            expected.check(&response(200, true, stream.as_bytes()), 7),
            Ok(Form::Sse)
        );
        let spelled = right.replace('ç', "\\u00e7");
        assert_ne!(spelled, right);
        assert_eq!(
            expected.check(&response(200, false, spelled.as_bytes()), 7),
            Ok(Form::Json)
        );
    }

    #[test]
    fn every_wrong_answer_is_seen() {
        let expected = Expected::new(Size::Small);
        let right = text(Size::Small);
        let other = right.replacen('C', "D", 1);
        let failed = "{\"id\":7,\"error\":{\"code\":-32603,\"message\":\"no\"}}";
        for (status, events, body) in [
            (500, false, answer(7, &right)),
            (200, false, answer(8, &right)),
            (200, false, answer(7, &other)),
            (200, false, answer(7, &right[1..])),
            (200, false, failed.to_owned()),
            (200, true, ": open\n\n".to_owned()),
            (200, true, answer(7, &right)),
            (200, false, String::new()),
        ] {
            let checked = expected.check(&response(status, events, body.as_bytes()), 7);
            assert!(checked.is_err(), "{status} {events} {body} was accepted");
        }
    }
}
