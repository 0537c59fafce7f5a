use crate::{Id, json};

/// What the beginning of a message says of it, where the rest is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glimpse {
    /// A response, or what may be one: to the request of this id, where it can be read.
    Response(Option<Id>),
    /// A request, or what may be one: to be answered under this id, where it can be read.
    Request(Option<Id>),
    /// A notification.
    Notification,
}

impl Glimpse {
    /// Looks at the first bytes of a message; `None` where they are not those of one.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let text = match std::str::from_utf8(beginning) {
            Ok(text) => text,
            // It may end within a character.
            Err(error) => std::str::from_utf8(beginning.get(..error.valid_up_to())?).ok()?,
        };
        let members = json::beginning(text)?;
        let find = |wanted: &str| members.iter().find(|(key, _)| key == wanted);
        let id = find("id").and_then(|(_, value)| Id::from_raw((*value)?.to_owned().into()));
        let method = find("method").map(|(_, value)| value.and_then(json::as_str));
        let is_notification = |name: &str| name.starts_with("notifications/");
        Some(match method {
            Some(Some(name)) if id.is_none() && is_notification(&name) => Self::Notification,
            Some(_) => Self::Request(id),
            None if find("params").is_some() => Self::Request(id),
            None => Self::Response(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Glimpse> {
        Glimpse::of(text.as_bytes())
    }

    #[test]
    fn a_message_is_known_by_its_beginning() {
        let seven = || Some(Id::from(7));
        for (text, wanted) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"result":{"a":"#,
                Glimpse::Response(seven()),
            ),
            (
                r#"{"jsonrpc":"2.0","result":{"id":7,"#,
                Glimpse::Response(None),
            ),
            (r#"{"jsonrpc":"2.0","id":7"#, Glimpse::Response(None)),
            (r#"{"x":"#, Glimpse::Response(None)),
            (
                r#"{"id":7,"method":"roots/list","params":{"#,
                Glimpse::Request(seven()),
            ),
            (r#"{"id":7,"params":{"#, Glimpse::Request(seven())),
            (
                r#"{"method":"sampling/createMessage","params":{"#,
                Glimpse::Request(None),
            ),
            (
                r#"{"method":"notifications/message","params":{"#,
                Glimpse::Notification,
            ),
        ] {
            assert_eq!(of(text), Some(wanted), "{text}");
        }
        assert_eq!(of("[INFO] a long line"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_beginning_may_end_within_a_character() {
        let text = "{\"id\":7,\"result\":\"é";
        let cut = &text.as_bytes()[..text.len() - 1];
        assert_eq!(Glimpse::of(cut), Some(Glimpse::Response(Some(Id::from(7)))));
    }
}
