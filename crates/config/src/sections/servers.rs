//! The MCP servers behind the gateway.

mod check;
mod credentials;

pub(super) use check::{check, warnings};
pub(crate) use check::{is_header_name, is_name, is_own_header};
pub use credentials::{
    CatalogCredentials, CatalogLender, ClientAuthMethod, CredentialsKind, CredentialsSection,
    ResourceIndicator,
};

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    BreakerSection, ServerCacheSection,
    extension::Extension,
    pinning::PinningMode,
    policy::{ClassifiedNames, DataClass},
};
use crate::{
    period::Period,
    suspicion::secret_in_argument,
    text::{MASK, Secret, Text, UpstreamUrl},
};

/// One MCP server: either a program that is started (`command`) or an address (`url`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The name of the server, unique: 1 to 32 of a–z, 0–9 and dash, beginning with a letter.
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,31}$"))]
    pub name: String,
    /// The program that is the server, spoken to over stdin and stdout.
    #[serde(default)]
    pub command: Option<Text>,
    /// The arguments of the program.
    #[serde(default, serialize_with = "masked")]
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
    /// The access tokens that requests to the address are made with.
    #[serde(default)]
    pub credentials: Option<CredentialsSection>,
    /// What is trusted and shown where the address is `https`.
    #[serde(default)]
    pub tls: Option<UpstreamTls>,
    /// What stands before the names of this server's tools and prompts, followed by `_`. Without
    /// it: the server's name. `none`: names stay as they are.
    #[serde(default)]
    pub prefix: Prefix,
    /// Whether all callers share one session of this server. Only for servers that keep nothing
    /// of one caller that another must not see.
    #[serde(default)]
    pub shared: bool,
    /// Whether each gateway keeps sessions of its own with this server, where gateways share a Redis. For
    /// servers that find a session by where they are called from.
    #[serde(default)]
    pub session_per_gateway: bool,
    /// Whether the server is used at all.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// The total deadline of a call to this server. Without it: `limits.call_timeout`.
    #[serde(default)]
    pub timeout: Option<Period>,
    /// When it is left alone for a while since its calls fail. Without it: the general `breaker`.
    #[serde(default)]
    pub breaker: Option<BreakerSection>,
    /// What is kept of its answers, where it differs from the general `cache`.
    #[serde(default)]
    pub cache: Option<ServerCacheSection>,
    /// The server's own names of tools that change nothing, by your word: calls of them may be made
    /// again (`retry`), and their results be kept (`cache.ttl.tools`). `*` stands for any text.
    #[serde(default)]
    pub read_only: Vec<String>,
    /// Whether what the server says of its tools in their annotations (`readOnlyHint`,
    /// `idempotentHint`) is believed, so that calls of them may be made again, and results of those
    /// that only read be kept (`cache.ttl.tools`). Policies see the annotations in any case.
    #[serde(default)]
    pub trust_annotations: bool,
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
    /// What its tools, prompts and resources may hold, for policies.
    #[serde(default)]
    pub data_class: DataClass,
    /// Exceptions from `data_class`. The first that fits a name counts.
    #[serde(default)]
    pub data_classes: Vec<ClassifiedNames>,
    /// What is done about definitions of its tools that nobody has agreed to. Without it:
    /// `pinning.mode`.
    #[serde(default)]
    pub pinning: Option<PinningMode>,
    /// Whether the registry has it, and not the file: it reaches no further than what data names.
    #[serde(skip)]
    pub from_registry: bool,
}

/// Arguments as they may be shown: people put keys there, so what looks like one is masked.
fn masked<S: Serializer>(args: &[Text], serializer: S) -> Result<S::Ok, S::Error> {
    let mut before = None;
    serializer.collect_seq(args.iter().map(|argument| {
        let written = argument.written();
        let secret = secret_in_argument(before, written).filter(|_| !written.contains("${"));
        before = Some(written);
        match secret.and_then(|start| written.get(..start)) {
            Some(shown) => format!("{shown}{MASK}"),
            None => written.to_owned(),
        }
    }))
}

/// TLS towards one server. The files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// The file of the authorities to trust for this server instead of all others.
    pub ca_file: Option<String>,
    /// The file of the certificate that the gateway shows it (mTLS). Read again when it changes.
    pub certificate: Option<String>,
    /// The file of the private key.
    pub key: Option<String>,
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
            "description": "`none`, or 1 to 32 of a–z, 0–9 and dash, beginning with a letter.",
            "pattern": "^[a-z][a-z0-9-]{0,31}$",
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
            credentials: None,
            tls: None,
            prefix: Prefix::default(),
            shared: false,
            session_per_gateway: false,
            enabled: enabled(),
            timeout: None,
            breaker: None,
            cache: None,
            read_only: Vec::new(),
            trust_annotations: false,
            idle_stop: idle_stop(),
            restart: Restart::default(),
            era: Era::default(),
            extensions: None,
            data_class: DataClass::default(),
            data_classes: Vec::new(),
            pinning: None,
            from_registry: false,
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
}
