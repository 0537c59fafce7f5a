//! Messages of our own making, and changed copies of messages that came.

use std::ops::Range;

use bytestring::ByteString;

use super::{Notification, Outcome, Request, Response};
use crate::{
    Id, WireError,
    json::{self, Object, Outline},
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
            outline: Outline::default(),
        }
    }

    /// The text of the same request under another id and with other `params` (the text of an
    /// object); every other byte of the envelope stays.
    pub fn rewritten_text(&self, id: &Id, params: Option<&str>) -> ByteString {
        self.changed(id, params)
            .map_or_else(|| self.text.clone(), |(text, _)| text)
    }

    /// The same request under another id and with other `params` (the text of an object); every
    /// other byte of the envelope stays.
    pub fn rewritten(&self, id: Id, params: Option<&str>) -> Self {
        let Some((text, [raw_id, params])) = self.changed(&id, params) else {
            return self.clone();
        };
        Self {
            id: id.moved(raw_id),
            method: self.method.clone(),
            params,
            outline: Outline::default(),
            text,
        }
    }

    fn changed(&self, id: &Id, params: Option<&str>) -> Option<Changed> {
        let id = Part::set("id", Some(self.id.as_raw()), id.as_raw());
        let old = self.params.as_deref();
        changed(
            &self.text,
            [
                id,
                params.map_or_else(
                    || Part::keep("params", old),
                    |new| Part::set("params", old, new),
                ),
            ],
        )
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
        let new = Part::set("params", self.params.as_deref(), &params);
        let Some((text, [params, _])) = changed(&self.text, [new, Part::NONE]) else {
            return self.clone();
        };
        Self {
            method: self.method.clone(),
            params,
            text,
        }
    }
}

impl Response {
    /// A response with `result`, the text of an object.
    pub fn result(id: &Id, result: &str) -> Self {
        Self::new(Some(id), "result", result, Outcome::Result)
    }

    /// The text of a response with `result`, the text of an object that is there in pieces.
    pub fn text_of_result(id: &Id, result: &[&str]) -> ByteString {
        let mut text = start(Some(id), result.iter().map(|piece| piece.len()).sum());
        text.push_str("\"result\":");
        for piece in result {
            text.push_str(piece);
        }
        text.push('}');
        text.into()
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
            more: false,
        }
    }

    /// Whether it has members that JSON-RPC does not know.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// The response to the request `id` with this outcome, an edited copy of its own or one of the
    /// other kind. Where it has more than JSON-RPC knows, every other byte stays; an outcome of the
    /// other kind makes another response.
    pub fn passed_on(&self, id: &Id, outcome: &Outcome) -> Self {
        let anew = || match outcome {
            Outcome::Result(result) => Self::result(id, result),
            Outcome::Error(error) => Self::raw_error(id, error),
        };
        let part = match (&self.outcome, outcome) {
            _ if !self.more => return anew(),
            (Outcome::Result(old), Outcome::Result(new)) => Part::set("result", Some(old), new),
            (Outcome::Error(old), Outcome::Error(new)) => Part::set("error", Some(old), new),
            _ => return anew(),
        };
        let old_id = self.id.as_ref().map(Id::as_raw);
        let new_id = Part::set("id", old_id, id.as_raw());
        let Some((text, [raw_id, moved])) = changed(&self.text, [new_id, part]) else {
            return anew();
        };
        let outcome = match (outcome, moved) {
            (Outcome::Result(_), Some(result)) => Outcome::Result(result),
            (Outcome::Error(_), Some(error)) => Outcome::Error(error),
            (unmoved, None) => unmoved.clone(),
        };
        Self {
            text,
            id: Some(id.clone().moved(raw_id)),
            outcome,
            more: true,
        }
    }

    /// The same response under another id; every other byte stays.
    pub fn with_id(&self, id: &Id) -> Self {
        let old = self.id.as_ref().map(Id::as_raw);
        let outcome = match &self.outcome {
            Outcome::Result(result) => Part::keep("result", Some(result)),
            Outcome::Error(error) => Part::keep("error", Some(error)),
        };
        let new = Part::set("id", old, id.as_raw());
        let Some((text, [raw_id, outcome])) = changed(&self.text, [new, outcome]) else {
            return self.clone();
        };
        Self {
            text,
            id: Some(id.clone().moved(raw_id)),
            outcome: match (&self.outcome, outcome) {
                (Outcome::Result(_), Some(result)) => Outcome::Result(result),
                (Outcome::Error(_), Some(error)) => Outcome::Error(error),
                (unmoved, None) => unmoved.clone(),
            },
            more: self.more,
        }
    }

    /// The same response with another `result`, the text of an object. A response with an error
    /// stays as it is.
    pub fn with_result(&self, result: impl Into<ByteString>) -> Self {
        let result = result.into();
        let Outcome::Result(old) = &self.outcome else {
            return self.clone();
        };
        let id = Part::keep("id", self.id.as_ref().map(Id::as_raw));
        let new = Part::set("result", Some(old), &result);
        let Some((text, [raw_id, moved])) = changed(&self.text, [id, new]) else {
            return self.clone();
        };
        Self {
            text,
            id: self.id.clone().map(|id| id.moved(raw_id)),
            outcome: Outcome::Result(moved.unwrap_or(result)),
            more: self.more,
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

fn push(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

/// A member of an envelope: the text of its value as it was read, and the one that it gets.
#[derive(Clone, Copy)]
struct Part<'a> {
    key: &'static str,
    old: Option<&'a str>,
    new: Option<&'a str>,
}

impl<'a> Part<'a> {
    const NONE: Self = Self::keep("", None);

    const fn keep(key: &'static str, old: Option<&'a str>) -> Self {
        Self { key, old, new: old }
    }

    const fn set(key: &'static str, old: Option<&'a str>, new: &'a str) -> Self {
        Self {
            key,
            old,
            new: Some(new),
        }
    }
}

/// A changed envelope, and its members as slices of it.
type Changed = (ByteString, [Option<ByteString>; 2]);

/// The envelope `text` with members set to other values. `None` where it is no object, which a
/// message never is.
///
/// What was read from the envelope is a slice of it, so that its place is known and all else is
/// copied without being read again. Only a member that it does not have takes a reading.
fn changed(text: &ByteString, parts: [Part<'_>; 2]) -> Option<Changed> {
    if let Some((text, places)) = splice(text, parts) {
        let text = ByteString::from(text);
        let slice = |place: Option<Range<usize>>| Some(text.slice_ref(text.get(place?)?));
        return Some((text.clone(), places.map(slice)));
    }
    let object = Object::parse(text).ok()?;
    let edit = parts.iter().fold(object.edit(), |edit, part| {
        edit.set_some(part.key, part.new)
    });
    let text = ByteString::from(edit.finish());
    let object = Object::parse(&text).ok()?;
    let parts = parts.map(|part| object.get(part.key).map(|value| text.slice_ref(value)));
    Some((text.clone(), parts))
}

/// The changed text and where the values stand in it; `None` where the place of an old one is not
/// known.
fn splice(text: &str, parts: [Part<'_>; 2]) -> Option<(String, [Option<Range<usize>>; 2])> {
    let mut places = [None, None];
    for (place, part) in places.iter_mut().zip(&parts) {
        if part.new.is_some() {
            *place = Some(json::place(text, part.old?)?);
        }
    }
    let grown: usize = parts.iter().filter_map(|part| part.new).map(str::len).sum();
    let mut out = String::with_capacity(text.len() + grown);
    let mut at = 0;
    let is_second_first = matches!(&places, [Some(a), Some(b)] if b.start < a.start);
    for index in if is_second_first { [1, 0] } else { [0, 1] } {
        if let (Some(place), Some(new)) = (&mut places[index], parts[index].new) {
            out.push_str(text.get(at..place.start)?);
            at = place.end;
            *place = push(&mut out, new);
        }
    }
    out.push_str(text.get(at..)?);
    Some((out, places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    #[test]
    fn the_text_of_a_result_is_that_of_the_response_with_it() {
        for id in [Id::from(7), Id::from_raw("\"a\"".into()).unwrap()] {
            let whole = Response::result(&id, r#"{"a":1}"#).text;
            assert_eq!(Response::text_of_result(&id, &[r#"{"a""#, ":1}"]), whole);
        }
    }

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
        let sent = request(text).rewritten(Id::from(9), Some(r#"{"name":"b"}"#));
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
        let sent = request(text).rewritten(Id::from(2), Some("{}"));
        assert_eq!(
            sent.text,
            r#"{"params":{},"id":2,"method":"x","jsonrpc":"2.0"}"#
        );
    }

    #[test]
    fn what_was_absent_is_added() {
        let sent = request(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#)
            .rewritten(Id::from(2), Some(r#"{"a":1}"#));
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

    #[test]
    fn a_response_is_passed_on_with_what_nobody_knows() {
        let id = Id::from(9);
        let edited = Outcome::Result("{\"b\":2}".into());
        let text = r#"{"x-a":[1e2], "result":{"a":1},"id":5, "jsonrpc":"2.0","x-b":null}"#;
        let read = response(text);
        assert!(read.has_more());
        assert_eq!(
            read.passed_on(&id, &edited).text,
            r#"{"x-a":[1e2], "result":{"b":2},"id":9, "jsonrpc":"2.0","x-b":null}"#
        );
        let error = response(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1},"x":0}"#);
        assert_eq!(
            error.passed_on(&id, &error.outcome).text,
            r#"{"jsonrpc":"2.0","id":9,"error":{"code":1},"x":0}"#
        );
        // Another outcome is another response, and so is one of which all is known.
        assert_eq!(
            error.passed_on(&id, &edited).text,
            r#"{"jsonrpc":"2.0","id":9,"result":{"b":2}}"#
        );
        let plain = response(r#"{"id":5,"result":{}, "jsonrpc":"2.0"}"#);
        assert!(!plain.has_more());
        assert_eq!(
            plain.passed_on(&id, &edited).text,
            r#"{"jsonrpc":"2.0","id":9,"result":{"b":2}}"#
        );
        assert!(!response(r#"{"jsonrpc":"2.0","error":{"code":1}}"#).has_more());
    }

    /// A message that was changed is changed again, and all its parts are parts of its text.
    #[test]
    fn a_changed_message_is_as_one_that_was_read() {
        let is_part = |text: &ByteString, part: &str| json::place(text, part).is_some();
        let text = r#" {"jsonrpc":"2.0", "id":5,"result":{"a" : 1} } "#;
        for changed in [
            response(text).with_id(&Id::from(6)),
            response(text).with_result("{}"),
            Response::result(&Id::from(5), "{}").with_id(&Id::from(7)),
        ] {
            assert!(is_part(
                &changed.text,
                changed.id.as_ref().unwrap().as_raw()
            ));
            assert!(
                matches!(&changed.outcome, Outcome::Result(result) if is_part(&changed.text, result))
            );
        }
        let there = response(text).with_result("{}").with_id(&Id::from(6));
        let back = there.with_result(r#"{"a" : 1}"#).with_id(&Id::from(5));
        assert_eq!(back.text, text);

        let own = Request::new(Id::from(1), "x", None).rewritten(Id::from(2), Some("{}"));
        assert!(is_part(&own.text, own.id.as_raw()));
        assert!(is_part(&own.text, own.params.as_ref().unwrap()));
    }
}
