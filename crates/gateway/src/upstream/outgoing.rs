use bytestring::ByteString;
use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{Id, Request, json::Object};

/// What a call is to the session that it runs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// One of those that messages without a name may belong to.
    #[default]
    Call,
    /// A stream of notifications, each of which names it.
    Stream,
    /// A stream that is good for as long as the session is there for something else: it does not
    /// keep it open, and never slows it down.
    Background,
}

/// A call on its way to an upstream, in the upstream's own names.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a str,
    /// What it is to its session, where it runs in one.
    pub role: Role,
    /// The caller's own request, where this is one: its other members travel on.
    pub envelope: Option<&'a Request>,
    /// The text of `params` as the target era has them, without a progress token.
    pub params: Option<ByteString>,
    /// The text of the caller's progress token.
    pub progress_token: Option<ByteString>,
    /// What `Mcp-Name` mirrors.
    pub name: Option<&'a str>,
    /// `Mcp-Param-*` and trace headers, for modern HTTP.
    pub headers: Vec<(::http::HeaderName, ::http::HeaderValue)>,
    /// Whose tokens it is made with. Set by [`Upstream::call`](super::Upstream::call); without it,
    /// those of whom its session was opened for.
    pub subject: Option<Subject>,
}

impl Outgoing<'_> {
    /// The text of the request as the upstream gets it, under `id`. That is the progress token
    /// too, where the caller asked for progress.
    pub(super) fn text(&self, id: &Id) -> ByteString {
        let params = match (&self.progress_token, &self.params) {
            (None, params) => params.clone(),
            (Some(_), params) => Some(with_progress_token(params.as_ref(), id)),
        };
        match self.envelope {
            Some(envelope) if envelope.method == *self.method => {
                envelope.rewritten_text(id, params.as_deref())
            }
            _ => Request::new(id.clone(), self.method, params.as_deref()).text,
        }
    }
}

fn with_progress_token(params: Option<&ByteString>, id: &Id) -> ByteString {
    let text = params.map_or("{}", |params| params);
    let edited = Object::parse(text).ok().and_then(|object| {
        let meta_text = object.get("_meta").unwrap_or("{}");
        let meta = Object::parse(meta_text).ok()?;
        let meta = meta.edit().set("progressToken", id.as_raw()).finish();
        Some(object.edit().set("_meta", meta).finish())
    });
    edited.map_or_else(|| text.into(), ByteString::from)
}
