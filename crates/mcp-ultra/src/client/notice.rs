//! What a server says besides its answers.

use mcp_ultra_protocol::{Notification, json::Object};

/// Something that a server says while it works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Notice {
    /// How far it is.
    Progress {
        /// Done so far.
        done: f64,
        /// Of how much, where that is known.
        total: Option<f64>,
        /// In words.
        message: Option<String>,
    },
    /// A log message.
    Log {
        /// The level.
        level: String,
        /// The text; JSON where the server logs a structure.
        text: String,
    },
    /// It asked for something and was told no.
    Declined {
        /// What it asked for.
        wanted: String,
    },
    /// A tool whose definition is against the rules was left out.
    Dropped {
        /// The name of the tool.
        tool: String,
        /// What is wrong.
        reason: String,
    },
}

/// A server's request in a few words.
pub(super) fn describe(method: &str, params: Option<&str>) -> String {
    let message = params
        .and_then(|params| Object::parse(params).ok())
        .and_then(|params| params.get_str("message").map(String::from));
    match message {
        Some(message) => format!("{method} \"{message}\""),
        None => method.to_owned(),
    }
}

/// What a notification says, where it is one for people.
pub(super) fn read(notification: &Notification) -> Option<Notice> {
    let params = Object::parse(notification.params.as_deref()?).ok()?;
    let number = |key| params.get(key).and_then(|raw| raw.parse::<f64>().ok());
    let text = |key| params.get_str(key).map(String::from);
    match &*notification.method {
        "notifications/progress" => Some(Notice::Progress {
            done: number("progress")?,
            total: number("total"),
            message: text("message"),
        }),
        "notifications/message" => Some(Notice::Log {
            level: text("level").unwrap_or_else(|| "info".to_owned()),
            text: text("data").or_else(|| params.get("data").map(str::to_owned))?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_log_are_read() {
        let progress = Notification::new(
            "notifications/progress",
            Some(r#"{"progressToken":1,"progress":0.5,"message":"meio"}"#),
        );
        let expected = Notice::Progress {
            done: 0.5,
            total: None,
            message: Some("meio".to_owned()),
        };
        assert_eq!(read(&progress), Some(expected));
        let log = Notification::new("notifications/message", Some(r#"{"data":{"n": 1}}"#));
        let expected = Notice::Log {
            level: "info".to_owned(),
            text: r#"{"n": 1}"#.to_owned(),
        };
        assert_eq!(read(&log), Some(expected));
        assert_eq!(
            read(&Notification::new("notifications/progress", None)),
            None
        );
    }
}
