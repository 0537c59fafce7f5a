//! The MCP servers behind the gateway.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::extension::{self, Extension};
use crate::{
    period::Period,
    text::{Secret, Text, UpstreamUrl},
    validate::Findings,
};

/// The longest name and the longest prefix of a server.
const LONGEST_NAME: usize = 32;

/// One MCP server: either a program that is started (`command`) or an address (`url`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The name of the server, unique: 1 to 32 of a–z, 0–9 and dash, not beginning with a dash.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub name: String,
    /// The program that is the server, spoken to over stdin and stdout.
    #[serde(default)]
    pub command: Option<Text>,
    /// The arguments of the program.
    #[serde(default)]
    pub args: Vec<Text>,
    /// Environment variables for the program, besides the few it always gets (such as PATH).
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// The folder the program runs in. Without it: the gateway's own.
    #[serde(default)]
    pub cwd: Option<Text>,
    /// The address of the server, spoken to over streamable HTTP.
    #[serde(default)]
    pub url: Option<UpstreamUrl>,
    /// Headers sent with every request to the address.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// What stands before the names of this server's tools and prompts, followed by `_`. Without
    /// it: the server's name. `none`: names stay as they are.
    #[serde(default)]
    pub prefix: Prefix,
    /// Whether all callers share one session of this server. Only for servers that keep nothing
    /// of one caller that another must not see.
    #[serde(default)]
    pub shared: bool,
    /// Whether the server is used at all.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// The total deadline of a call to this server. Without it: `limits.call_timeout`.
    #[serde(default)]
    pub timeout: Option<Period>,
    /// How long the program runs without a call before it is stopped; it starts again on use.
    #[serde(default = "idle_stop")]
    pub idle_stop: Period,
    /// How long the gateway waits before it starts the program again.
    #[serde(default)]
    pub restart: Restart,
    /// Which revisions of the protocol the server speaks: found out, or given.
    #[serde(default)]
    pub era: Era,
    /// Extensions that pass through to this server. Without it: the general `extensions`.
    #[serde(default)]
    pub extensions: Option<Vec<Extension>>,
}

const fn enabled() -> bool {
    true
}

const fn idle_stop() -> Period {
    Period::from_secs(600)
}

/// The wait before a program that ended is started again: doubled each time, from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// The first wait.
    pub min: Period,
    /// The longest wait.
    pub max: Period,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            min: Period::from_millis(200),
            max: Period::from_secs(30),
        }
    }
}

/// Which revisions of the protocol a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// Found out once, kept, and found again when it fails.
    #[default]
    Auto,
    /// 2026-07-28 and later.
    Modern,
    /// 2025-11-25 and earlier.
    Legacy,
}

/// What stands before a server's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    /// The server's name.
    #[default]
    Name,
    /// Nothing: the names stay as they are.
    None,
    /// This text.
    Text(String),
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name => serializer.serialize_none(),
            Self::None => serializer.serialize_str("none"),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Self::Name);
        };
        match text.as_str() {
            "none" => Ok(Self::None),
            "" => Err(de::Error::custom(
                "an empty prefix: write `none` to keep names as they are",
            )),
            _ => Ok(Self::Text(text)),
        }
    }
}

impl JsonSchema for Prefix {
    fn schema_name() -> Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "null"],
            "description": "`none`, or 1 to 32 of a–z, A–Z, 0–9, dash and underscore, beginning \
                with a letter or digit.",
            "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$",
        })
    }
}

/// How a server is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// A program, over stdin and stdout.
    Stdio {
        /// The program.
        command: &'a str,
        /// Its arguments.
        args: &'a [Text],
        /// Its additional environment.
        env: &'a BTreeMap<String, Secret>,
        /// Its folder, if not the gateway's own.
        cwd: Option<&'a str>,
    },
    /// An address, over streamable HTTP.
    Http {
        /// The address.
        url: &'a UpstreamUrl,
        /// Headers for every request.
        headers: &'a BTreeMap<String, Secret>,
    },
}

impl fmt::Debug for Transport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The command comes without its references here, so it is left out.
        match self {
            Self::Stdio { .. } => f.write_str("Stdio"),
            Self::Http { url, .. } => f.debug_tuple("Http").field(url).finish(),
        }
    }
}

impl Upstream {
    fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            url: None,
            headers: BTreeMap::new(),
            prefix: Prefix::default(),
            shared: false,
            enabled: enabled(),
            timeout: None,
            idle_stop: idle_stop(),
            restart: Restart::default(),
            era: Era::default(),
            extensions: None,
        }
    }

    /// A server that is a program, with every default.
    pub fn stdio<A: Into<String>>(
        name: impl Into<String>,
        command: impl Into<String>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            command: Some(Text::literal(command)),
            args: args.into_iter().map(Text::literal).collect(),
            ..Self::named(name)
        }
    }

    /// A server at an address, with every default.
    pub fn http(name: impl Into<String>, url: UpstreamUrl) -> Self {
        Self {
            url: Some(url),
            ..Self::named(name)
        }
    }

    /// How the server is reached. `None` only for a value made by hand with neither a command nor
    /// an address: [`crate::load`] refuses that.
    pub fn transport(&self) -> Option<Transport<'_>> {
        match (&self.command, &self.url) {
            (Some(command), _) => Some(Transport::Stdio {
                command,
                args: &self.args,
                env: &self.env,
                cwd: self.cwd.as_deref(),
            }),
            (None, Some(url)) => Some(Transport::Http {
                url,
                headers: &self.headers,
            }),
            (None, None) => None,
        }
    }

    /// What stands before this server's names, or `None` for identity names.
    pub fn effective_prefix(&self) -> Option<&str> {
        match &self.prefix {
            Prefix::Name => Some(&self.name),
            Prefix::None => None,
            Prefix::Text(text) => Some(text),
        }
    }

    fn check(&self, path: &str, findings: &mut Findings) {
        self.check_name(path, findings);
        self.check_transport(path, findings);
        if let Prefix::Text(prefix) = &self.prefix
            && !is_prefix(prefix)
        {
            findings.report(
                format!("{path}.prefix"),
                format!("`{prefix}` can't be a prefix"),
                "use 1 to 32 of a–z, A–Z, 0–9, dash and underscore, beginning with a letter or \
                 digit; or `none`",
            );
        }
        if let Some(timeout) = self.timeout {
            findings.not_zero(&format!("{path}.timeout"), timeout);
        }
        findings.not_zero(&format!("{path}.idle_stop"), self.idle_stop);
        findings.not_zero(&format!("{path}.restart.min"), self.restart.min);
        if self.restart.max < self.restart.min {
            findings.report(
                format!("{path}.restart.max"),
                format!(
                    "{} is shorter than min, {}",
                    self.restart.max, self.restart.min
                ),
                "make max at least min",
            );
        }
        if let Some(list) = &self.extensions {
            extension::check(list, &format!("{path}.extensions"), findings);
        }
    }

    fn check_name(&self, path: &str, findings: &mut Findings) {
        if !is_name(&self.name) {
            findings.report(
                format!("{path}.name"),
                format!("`{}` can't be the name of a server", self.name),
                "use 1 to 32 of a–z, 0–9 and dash, not beginning with a dash, such as `files`",
            );
        }
    }

    fn check_transport(&self, path: &str, findings: &mut Findings) {
        match (&self.command, &self.url) {
            (Some(_), Some(_)) => findings.report(
                format!("{path}.url"),
                "a server has either a command or a url, this one has both",
                "remove `url` to start a program, or `command` to use the address",
            ),
            (None, None) => findings.report(
                path,
                "this server has neither a command nor a url",
                "add `command: PROGRAM` (and `args`), or `url: https://…`",
            ),
            (Some(command), None) if command.trim().is_empty() => findings.report(
                format!("{path}.command"),
                "the command is empty",
                "name a program, such as npx",
            ),
            _ => {}
        }
        // Naming the key that belongs to the other kind is a mistake, not something to ignore.
        let (kind, misplaced): (_, [(&str, bool); 3]) = if self.url.is_some() {
            let stray = [
                ("args", !self.args.is_empty()),
                ("env", !self.env.is_empty()),
                ("cwd", self.cwd.is_some()),
            ];
            ("a program", stray)
        } else {
            (
                "an address",
                [
                    ("headers", !self.headers.is_empty()),
                    ("", false),
                    ("", false),
                ],
            )
        };
        if self.url.is_some() != self.command.is_some() {
            for (key, _) in misplaced.into_iter().filter(|(_, stray)| *stray) {
                findings.report(
                    format!("{path}.{key}"),
                    format!("`{key}` is for a server that is {kind}"),
                    "remove it",
                );
            }
        }
        for name in self.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                findings.report(
                    format!("{path}.env"),
                    format!(
                        "`{}` can't be the name of an environment variable",
                        name.escape_debug()
                    ),
                    "use letters, digits and underscore",
                );
            }
        }
        self.check_values(path, findings);
    }

    /// NUL can't be handed to a program, a line break in a header would begin a second one.
    fn check_values(&self, path: &str, findings: &mut Findings) {
        for (name, value) in &self.env {
            if value.expose().contains('\0') {
                findings.report(
                    format!("{path}.env.{name}"),
                    "the value contains a NUL character",
                    "remove it",
                );
            }
        }
        for (name, value) in &self.headers {
            if !is_header_name(name) {
                findings.report(
                    format!("{path}.headers.{name}"),
                    format!("`{}` can't be the name of a header", name.escape_debug()),
                    "use letters, digits and dash, such as Authorization",
                );
            } else if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
                || name
                    .get(..4)
                    .is_some_and(|head| head.eq_ignore_ascii_case("mcp-"))
            {
                findings.report(
                    format!("{path}.headers.{name}"),
                    format!("`{name}` is set by the gateway itself"),
                    "remove it",
                );
            }
            if value.expose().chars().any(|c| c.is_control() && c != '\t') {
                findings.report(
                    format!("{path}.headers.{name}"),
                    "the value contains a line break or another control character",
                    "remove it; `${file:…}` drops only the last line break of a file",
                );
            }
        }
    }
}

/// Headers that belong to the transport; `Mcp-*` belong to the protocol.
const OWN_HEADERS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether the text can name a server.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_prefix(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A token of RFC 9110, section 5.6.2.
fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Checks each server, and what holds between them.
pub(super) fn check(servers: &[Upstream], findings: &mut Findings) {
    for (index, server) in servers.iter().enumerate() {
        let path = format!("servers[{index}]");
        server.check(&path, findings);
        let earlier = &servers[..index];
        if earlier.iter().any(|other| other.name == server.name) {
            findings.report(
                format!("{path}.name"),
                format!("two servers have the name `{}`", server.name),
                "give each server a name of its own",
            );
        } else if let Some(prefix) = server.effective_prefix().filter(|_| server.enabled)
            && let Some(other) = earlier
                .iter()
                .find(|other| other.enabled && other.effective_prefix() == Some(prefix))
        {
            let key = if server.prefix == Prefix::Name {
                "name"
            } else {
                "prefix"
            };
            findings.report(
                format!("{path}.{key}"),
                format!(
                    "the prefix `{prefix}` is already that of the server `{}`",
                    other.name
                ),
                "give each server a prefix of its own, or `none`",
            );
        }
    }
}
