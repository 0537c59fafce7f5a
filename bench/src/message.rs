//! The requests that the load generator sends, as bytes made once; only the id changes.

/// The modern revision.
pub(crate) const MODERN_VERSION: &str = "2026-07-28";
/// The legacy revision.
pub(crate) const LEGACY_VERSION: &str = "2025-11-25";
/// Names the revision of a message.
pub(crate) const VERSION_HEADER: &str = "mcp-protocol-version";
/// Names the session of a legacy message.
pub(crate) const SESSION_HEADER: &str = "mcp-session-id";

/// Ids have ten digits, so that a request never changes its length.
const FIRST_ID: u64 = 1_000_000_000;

/// Whom requests are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Port on 127.0.0.1.
    pub(crate) port: u16,
    /// Path of the MCP endpoint.
    pub(crate) path: String,
    /// The access token of whoever asks.
    pub(crate) token: Option<String>,
    /// The proof that the token is theirs (RFC 9449), where it is bound to a key.
    pub(crate) proof: Option<String>,
}

impl Address {
    /// The endpoint `/mcp` on this port.
    pub(crate) fn on(port: u16) -> Self {
        Self {
            port,
            path: "/mcp".to_owned(),
            token: None,
            proof: None,
        }
    }

    /// The same, asked with a token.
    pub(crate) fn with(self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// The same, asked with a token and a proof.
    pub(crate) fn with_proof(self, token: &str, proof: String) -> Self {
        Self {
            proof: Some(proof),
            ..self.with(token)
        }
    }
}

/// Which era a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Era {
    /// 2026-07-28: every request stands alone.
    Modern,
    /// 2025-11-25: `initialize`, then a session.
    Legacy,
}

/// A request as it goes onto the wire, whose id can be set again and again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    id_at: usize,
}

impl Request {
    /// Sets the id to that of the `number`th call, and gives the bytes with it.
    pub(crate) fn numbered(&mut self, number: u64) -> (&[u8], u64) {
        let id = FIRST_ID + number % FIRST_ID;
        let mut rest = id;
        for digit in self.bytes[self.id_at..self.id_at + 10].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        (&self.bytes, id)
    }
}

/// A modern request; `own` are its parameters besides `_meta`, as JSON members with a comma after
/// each, and `name` what `Mcp-Name` mirrors.
fn modern(to: &Address, method: &str, name: Option<&str>, own: &str) -> Request {
    let mut headers = format!("MCP-Protocol-Version: {MODERN_VERSION}\r\nMcp-Method: {method}\r\n");
    if let Some(name) = name {
        headers.push_str("Mcp-Name: ");
        headers.push_str(name);
        headers.push_str("\r\n");
    }
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{FIRST_ID},\"method\":\"{method}\",\"params\":{{{own}\
         \"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"{MODERN_VERSION}\",\
         \"io.modelcontextprotocol/clientInfo\":{{\"name\":\"mcp-ultra-bench\",\
         \"version\":\"{}\"}},\"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}",
        env!("CARGO_PKG_VERSION")
    );
    post(to, &headers, &body)
}

fn legacy(to: &Address, session: Option<&str>, body: &str) -> Request {
    let mut headers = format!("MCP-Protocol-Version: {LEGACY_VERSION}\r\n");
    if let Some(session) = session {
        headers.push_str("Mcp-Session-Id: ");
        headers.push_str(session);
        headers.push_str("\r\n");
    }
    post(to, &headers, body)
}

fn post(to: &Address, headers: &str, body: &str) -> Request {
    let credentials = match (&to.token, &to.proof) {
        (Some(token), Some(proof)) => {
            format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n")
        }
        (Some(token), None) => format!("Authorization: Bearer {token}\r\n"),
        (None, _) => String::new(),
    };
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{}{headers}Content-Length: {}\r\n\r\n",
        to.path,
        to.port,
        credentials,
        body.len()
    );
    let id = FIRST_ID.to_string();
    let id_at = head.len() + body.find(&id).unwrap_or_default();
    Request {
        bytes: [head.as_bytes(), body.as_bytes()].concat(),
        id_at,
    }
}

/// `tools/call` in either era; a modern one ignores the session.
pub(crate) fn call(to: &Address, era: Era, session: Option<&str>, tool: &str) -> Request {
    let own = format!("\"name\":\"{tool}\",\"arguments\":{{\"order\":\"PED-2026-00417\"}}");
    match era {
        Era::Modern => modern(to, "tools/call", Some(tool), &format!("{own},")),
        Era::Legacy => legacy(
            to,
            session,
            &format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{FIRST_ID},\"method\":\"tools/call\",\
                 \"params\":{{{own}}}}}"
            ),
        ),
    }
}

/// Modern `resources/read`.
pub(crate) fn read(to: &Address, uri: &str) -> Request {
    let own = format!("\"uri\":\"{uri}\",");
    modern(to, "resources/read", Some(uri), &own)
}

/// Modern `tools/list` of one page.
pub(crate) fn list(to: &Address, cursor: Option<&str>) -> Request {
    let own = cursor.map(|cursor| format!("\"cursor\":{},", serde_json::json!(cursor)));
    modern(to, "tools/list", None, &own.unwrap_or_default())
}

/// Modern `subscriptions/listen` for changes of the tool list.
pub(crate) fn listen(to: &Address) -> Request {
    let own = "\"notifications\":{\"toolsListChanged\":true},";
    modern(to, "subscriptions/listen", None, own)
}

/// Legacy `initialize`.
pub(crate) fn initialize(to: &Address) -> Request {
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{FIRST_ID},\"method\":\"initialize\",\"params\":\
         {{\"protocolVersion\":\"{LEGACY_VERSION}\",\"capabilities\":{{}},\"clientInfo\":\
         {{\"name\":\"mcp-ultra-bench\",\"version\":\"{}\"}}}}}}",
        env!("CARGO_PKG_VERSION")
    );
    post(to, "", &body)
}

/// Legacy `notifications/initialized`. It has no id: send its bytes as they are.
pub(crate) fn initialized(to: &Address, session: Option<&str>) -> Vec<u8> {
    legacy(
        to,
        session,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}",
    )
    .bytes
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parts(bytes: &[u8]) -> (String, Value) {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_modern_call_carries_what_the_revision_requires() {
        let mut request = call(&Address::on(8080), Era::Modern, None, "echo_64");
        let (bytes, id) = request.numbered(41);
        let (head, body) = parts(bytes);
        assert_eq!(body["id"], id);
        assert_eq!(id, 1_000_000_041);
        assert_eq!(body["params"]["name"], "echo_64");
        let meta = &body["params"]["_meta"];
        assert_eq!(
            meta["io.modelcontextprotocol/protocolVersion"],
            MODERN_VERSION
        );
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
        for header in ["Mcp-Method: tools/call", "Mcp-Name: echo_64", "2026-07-28"] {
            assert!(head.contains(header), "{header} is missing");
        }
    }

    #[test]
    fn a_legacy_call_carries_its_session_and_nothing_modern() {
        let mut request = call(&Address::on(1), Era::Legacy, Some("s-1"), "sse_4k");
        let (head, body) = parts(request.numbered(0).0);
        assert!(head.contains("Mcp-Session-Id: s-1") && !head.contains("Mcp-Method"));
        assert!(body["params"].get("_meta").is_none());
    }

    #[test]
    fn a_token_is_sent_where_there_is_one() {
        let to = Address::on(1).with("t");
        let (head, _) = parts(call(&to, Era::Modern, None, "echo_64").numbered(1).0);
        assert!(head.contains("\r\nAuthorization: Bearer t\r\n"));
        let (head, _) = parts(list(&Address::on(1), None).numbered(1).0);
        assert!(!head.contains("Authorization"));
        let to = Address::on(1).with_proof("t", "p".to_owned());
        let (head, _) = parts(list(&to, None).numbered(1).0);
        assert!(head.contains("\r\nAuthorization: DPoP t\r\nDPoP: p\r\n"));
    }

    #[test]
    fn the_other_messages_are_valid_json() {
        let to = Address::on(1);
        let (head, body) = parts(read(&to, "bench:///notes/64").numbered(1).0);
        assert_eq!(body["params"]["uri"], "bench:///notes/64");
        assert!(head.contains("Mcp-Name: bench:///notes/64\r\n"));
        let (_, body) = parts(list(&to, Some("a\"b")).numbered(1).0);
        assert_eq!(body["params"]["cursor"], "a\"b");
        parts(list(&to, None).numbered(1).0);
        parts(listen(&to).numbered(1).0);
        parts(initialize(&to).numbered(1).0);
        assert!(parts(&initialized(&to, None)).1.get("id").is_none());
    }
}
