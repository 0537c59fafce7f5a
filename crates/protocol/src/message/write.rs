//! Messages of our own making, and changed copies of messages that came.

use bytestring::ByteString;

use super::{Notification, Outcome, Request, Response};
use crate::{
    Id, WireError,
    json::{self, Object},
};

/// Enough for `{"jsonrpc":"2.0","id":,"method":"","params":}`.
const AROUND: usize = 48;

impl Request {
    /// A request of our own making; `params` is the text of an object.
    pub fn new(id: Id, method: &str, params: Option<&str>) -> Self {
        let call = called(Some(&id), method, params);
        Self {
            text: call.text,
            id,
            method: call.method,
            params: call.params,
        }
    }

    /// The text of the same request under another id and with other `params` (the text of an
    /// object); every other byte of the envelope stays.
    pub fn rewritten_text(&self, id: &Id, params: Option<&str>) -> ByteString {
        let changes = [
            Some(("id", Some(self.id.as_raw()), id.as_raw())),
            params.map(|params| ("params", self.params.as_deref(), params)),
        ];
        changed(&self.text, changes).unwrap_or_else(|| self.text.clone())
    }

    /// The same request under another id and with other `params` (the text of an object); every
    /// other byte of the envelope stays.
    pub fn rewritten(&self, id: Id, params: Option<ByteString>) -> Self {
        Self {
            text: self.rewritten_text(&id, params.as_deref()),
            id,
            method: self.method.clone(),
            params: params.or_else(|| self.params.clone()),
        }
    }
}

impl Notification {
    /// A notification of our own making; `params` is the text of an object.
    pub fn new(method: &str, params: Option<&str>) -> Self {
        let call = called(None, method, params);
        Self {
            text: call.text,
            method: call.method,
            params: call.params,
        }
    }

    /// The same notification with other `params`; every other byte of the envelope stays.
    pub fn with_params(&self, params: impl Into<ByteString>) -> Self {
        let params = params.into();
        let changes = [Some(("params", self.params.as_deref(), &*params)), None];
        let Some(text) = changed(&self.text, changes) else {
            return self.clone();
        };
        Self {
            method: self.method.clone(),
            params: Some(params),
            text,
        }
    }
}

impl Response {
    /// A response with `result`, the text of an object.
    pub fn result(id: &Id, result: &str) -> Self {
        Self::new(Some(id), "result", result, Outcome::Result)
    }

    /// A response with an error; `id` is missing where the request's could not be read.
    pub fn error(id: Option<&Id>, error: &WireError) -> Self {
        Self::new(id, "error", &error.to_json(), Outcome::Error)
    }

    /// A response with the text of an error object that came from elsewhere.
    pub fn raw_error(id: &Id, error: &str) -> Self {
        Self::new(Some(id), "error", error, Outcome::Error)
    }

    fn new(id: Option<&Id>, key: &str, value: &str, outcome: fn(ByteString) -> Outcome) -> Self {
        let mut text = start(id, value.len());
        text.push('"');
        text.push_str(key);
        text.push_str("\":");
        let value = push(&mut text, value);
        text.push('}');
        let text = ByteString::from(text);
        Self {
            outcome: outcome(text.slice_ref(&text[value])),
            text,
            id: id.cloned(),
        }
    }

    /// The same response under another id; every other byte stays.
    pub fn with_id(&self, id: &Id) -> Self {
        let old = self.id.as_ref().map(Id::as_raw);
        let changes = [Some(("id", old, id.as_raw())), None];
        let Some(text) = changed(&self.text, changes) else {
            return self.clone();
        };
        Self {
            text,
            id: Some(id.clone()),
            outcome: self.outcome.clone(),
        }
    }

    /// The same response with another `result`, the text of an object.
    pub fn with_result(&self, result: impl Into<ByteString>) -> Self {
        let result = result.into();
        let old = match &self.outcome {
            Outcome::Result(old) => Some(&**old),
            Outcome::Error(_) => None,
        };
        let changes = [Some(("result", old, &*result)), None];
        let Some(text) = changed(&self.text, changes) else {
            return self.clone();
        };
        Self {
            text,
            id: self.id.clone(),
            outcome: Outcome::Result(result),
        }
    }
}

/// The parts of a request or notification of our own making, as slices of one text.
struct Called {
    text: ByteString,
    method: ByteString,
    params: Option<ByteString>,
}

fn called(id: Option<&Id>, method: &str, params: Option<&str>) -> Called {
    let mut text = start(id, method.len() + params.map_or(0, str::len));
    text.push_str("\"method\":");
    text.push_str(&json::quote(method));
    let params = params.map(|params| {
        text.push_str(",\"params\":");
        push(&mut text, params)
    });
    text.push('}');
    let text = ByteString::from(text);
    Called {
        method: method.to_owned().into(),
        params: params.map(|place| text.slice_ref(&text[place])),
        text,
    }
}

/// The beginning of a message, with room for `more` bytes of content.
fn start(id: Option<&Id>, more: usize) -> String {
    let id = id.map(Id::as_raw);
    let mut text = String::with_capacity(AROUND + id.map_or(0, str::len) + more);
    text.push_str("{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        text.push_str("\"id\":");
        text.push_str(id);
        text.push(',');
    }
    text
}

fn push(text: &mut String, part: &str) -> std::ops::Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

/// One member that is set: its key, the text of its value as it was read, and the new one.
type Change<'a> = (&'static str, Option<&'a str>, &'a str);

/// The envelope `text` with members set to other values.
///
/// What was read from the envelope is a slice of it, so that its place is known and all else is
/// copied without being read again. Only a member that it does not have takes a reading. `None`
/// where the text is no object, which a message never is.
fn changed(text: &ByteString, changes: [Option<Change<'_>>; 2]) -> Option<ByteString> {
    splice(text, changes)
        .or_else(|| {
            let object = Object::parse(text).ok()?;
            let edit = object.edit();
            let set = changes.into_iter().flatten();
            Some(
                set.fold(edit, |edit, (key, _, new)| edit.set(key, new))
                    .finish(),
            )
        })
        .map(ByteString::from)
}

/// `None` where the place of an old value is not known.
fn splice(text: &str, changes: [Option<Change<'_>>; 2]) -> Option<String> {
    let mut places = [None, None];
    for (place, change) in places.iter_mut().zip(changes) {
        if let Some((_, old, new)) = change {
            *place = Some((json::place(text, old?)?, new));
        }
    }
    places.sort_by_key(|place| place.as_ref().map(|(place, _)| place.start));
    let grown: usize = places.iter().flatten().map(|(_, new)| new.len()).sum();
    let mut out = String::with_capacity(text.len() + grown);
    let mut at = 0;
    for (place, new) in places.into_iter().flatten() {
        out.push_str(text.get(at..place.start)?);
        out.push_str(new);
        at = place.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn parse(text: &str) -> Message {
        Message::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn request(text: &str) -> Request {
        match parse(text) {
            Message::Request(request) => request,
            other => panic!("a request, not {other:?}"),
        }
    }

    fn response(text: &str) -> Response {
        match parse(text) {
            Message::Response(response) => response,
            other => panic!("a response, not {other:?}"),
        }
    }

    #[test]
    fn rewriting_touches_nothing_else() {
        let text = r#" {"x-trace":{"n":1e400} , "jsonrpc":"2.0","id":"c", "method":"tools\/call","params" : {"name":"a"} } "#;
        let sent = request(text).rewritten(Id::from(9), Some(r#"{"name":"b"}"#.into()));
        assert_eq!(
            sent.text,
            r#" {"x-trace":{"n":1e400} , "jsonrpc":"2.0","id":9, "method":"tools\/call","params" : {"name":"b"} } "#
        );
        assert_eq!(request(&sent.text).params.unwrap(), r#"{"name":"b"}"#);
    }

    #[test]
    fn splicing_and_editing_give_the_same_text() {
        for text in [
            r#"{"jsonrpc":"2.0","id":"c","method":"m","params":{"name":"a"},"x":1}"#,
            r#"{"params" : {} ,"jsonrpc":"2.0","method":"m","id": 12345678901234567890 }"#,
        ] {
            let request = request(text);
            let object = Object::parse(text).unwrap();
            let edited = object
                .edit()
                .set("id", "7")
                .set("params", r#"{"p":[1,2]}"#)
                .finish();
            let spliced = request.rewritten_text(&Id::from(7), Some(r#"{"p":[1,2]}"#));
            assert_eq!(spliced, edited);
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter() {
        let text = r#"{"params":{"id":1},"id":1,"method":"x","jsonrpc":"2.0"}"#;
        let sent = request(text).rewritten(Id::from(2), Some("{}".into()));
        assert_eq!(
            sent.text,
            r#"{"params":{},"id":2,"method":"x","jsonrpc":"2.0"}"#
        );
    }

    #[test]
    fn what_was_absent_is_added() {
        let sent = request(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#)
            .rewritten(Id::from(2), Some(r#"{"a":1}"#.into()));
        assert_eq!(
            sent.text,
            r#"{"jsonrpc":"2.0","id":2,"method":"x","params":{"a":1}}"#
        );
        let answer = response(r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#);
        assert_eq!(
            answer.with_id(&Id::from(3)).text,
            r#"{"jsonrpc":"2.0","error":{"code":1,"message":""},"id":3}"#
        );
    }

    #[test]
    fn a_message_of_our_own_making_is_one_that_parses() {
        let own = Request::new(Id::from(1), "a\"b", Some(r#"{"x":1}"#));
        let read = request(&own.text);
        assert_eq!((read.method, read.params), (own.method, own.params));
        let again = Request::new(Id::from(1), "x", Some("{}")).rewritten(Id::from(7), None);
        assert_eq!(
            again.text,
            r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{}}"#
        );
        let note = Notification::new("n", None).with_params("{}");
        assert_eq!(note.text, r#"{"jsonrpc":"2.0","method":"n","params":{}}"#);
    }

    #[test]
    fn a_response_keeps_what_is_not_changed() {
        let text = r#"{"x":[1, 2],"result":{"a" : 1},"id":5,"jsonrpc":"2.0"}"#;
        let answer = response(text).with_id(&Id::from(6)).with_result("{}");
        assert_eq!(
            answer.text,
            r#"{"x":[1, 2],"result":{},"id":6,"jsonrpc":"2.0"}"#
        );
    }
}
