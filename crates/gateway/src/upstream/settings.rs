use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_ultra_config::{
    BreakerSection, Config, CredentialsKind, Extension, RetrySection, Text, Upstream as Section,
};
use mcp_ultra_domain::{
    breaker::Rules,
    catalog::{Labels, Trust},
    policy::{Classes, DataClass},
};
use mcp_ultra_edge::{credentials::Credentials, outbound::UpstreamTls};
use mcp_ultra_protocol::{Era, Version, names::Naming};

use crate::cache::Parts;

use super::{
    Hello, Means, Transport, UpstreamError,
    http::HttpTransport,
    stdio::{StdioSpec, supervise::RestartPolicy},
};

/// How long a child process has to come up: package runners may have to unpack it first.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// What one upstream is configured with, ready for use.
#[derive(Clone)]
pub struct Settings {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// How its names become public.
    pub naming: Naming,
    /// What policies see of its tools, prompts and resources.
    pub labels: Labels,
    /// All callers share its sessions.
    pub shared: bool,
    /// Each replica has sessions of its own.
    pub session_per_replica: bool,
    /// The era, where the operator has fixed it.
    pub fixed_era: Option<Era>,
    /// The total time that a call may take.
    pub call_timeout: Duration,
    /// How many calls may be in flight.
    pub max_calls: usize,
    /// When its breaker opens; `None` where it has none.
    pub breaker: Option<Rules>,
    /// When its calls are made again; `None`: never.
    pub retry: Option<RetrySection>,
    /// How long a session may be idle before it is ended.
    pub idle_stop: Duration,
    /// How long the upstream has to come up.
    pub start_timeout: Duration,
    /// When a child process that ended may be started again.
    pub restart: RestartPolicy,
    /// The extensions that pass through: their short names.
    pub extensions: Vec<&'static str>,
    /// What the gateway's own sessions are opened with.
    pub hello: Hello,
    reach: Reach,
    /// What all of it was read from.
    source: Section,
    /// See [`Settings::fingerprint`].
    fingerprint: [u8; 32],
}

/// What differs in the values of headers or in the client secret alone is equal: those are taken
/// over in place. So is what is kept of its answers, which is the gateway's business.
impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let names = |section: &Section| -> Vec<String> {
            section.headers.keys().map(String::clone).collect()
        };
        let without = |section: &Section| Section {
            headers: std::collections::BTreeMap::new(),
            cache: None,
            credentials: section.credentials.clone().map(|credentials| {
                mcp_ultra_config::CredentialsSection {
                    client_secret: None,
                    ..credentials
                }
            }),
            ..section.clone()
        };
        names(&self.source) == names(&other.source)
            && without(&self.source) == without(&other.source)
            && self.extensions == other.extensions
            && self.call_timeout == other.call_timeout
            && self.breaker == other.breaker
            && self.retry == other.retry
    }
}

#[derive(Clone)]
enum Reach {
    Http(Arc<HttpTransport>),
    Stdio(Box<StdioSpec>),
}

/// A server section that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server \"{server}\": {problem}")]
pub struct SettingsError {
    /// The name of the server.
    pub server: String,
    /// What is wrong. Holds no secret.
    pub problem: String,
}

impl Settings {
    /// Reads the section of one server.
    ///
    /// # Errors
    /// [`SettingsError`] for what the configuration's own checks can't see.
    pub(crate) fn new(
        config: &Config,
        section: &Section,
        means: &Means<'_>,
    ) -> Result<Self, SettingsError> {
        let restricted = section
            .from_registry
            .then(|| means.outbound.for_named_by_data());
        let client = restricted.as_ref().unwrap_or(means.outbound);
        let means = &Means {
            outbound: client,
            ..*means
        };
        let fail = |problem: String| SettingsError {
            server: section.name.clone(),
            problem,
        };
        let naming = match section.effective_prefix() {
            None => Naming::identity(),
            Some(prefix) => Naming::prefixed(prefix)
                .map_err(|error| fail(format!("prefix \"{prefix}\": {error}")))?,
        };
        let max_message = config.limits.result.as_usize();
        let reach = match section.transport() {
            Some(mcp_ultra_config::Transport::Http { url, headers }) => {
                let uri = url
                    .url()
                    .as_str()
                    .parse()
                    .map_err(|error| fail(format!("url: {error}")))?;
                let headers = header_map(headers).map_err(fail)?;
                let timeout = config
                    .limits
                    .response_timeout
                    .map(mcp_ultra_config::Period::get);
                let credentials = section
                    .credentials
                    .as_ref()
                    .map(|credentials| {
                        super::credentials::credentials(means, section, credentials, url)
                    })
                    .transpose()
                    .map_err(fail)?;
                let client = match &section.tls {
                    None => client.clone(),
                    Some(tls) => client
                        .with_tls(&upstream_tls(tls))
                        .map_err(|error| fail(format!("tls: {error}")))?,
                };
                let client = if section.from_registry {
                    client.for_named_by_data()
                } else {
                    client
                };
                let transport = HttpTransport::new(client, uri, &headers, max_message, timeout);
                Reach::Http(Arc::new(match credentials {
                    Some(credentials) => transport.with_credentials(credentials),
                    None => transport,
                }))
            }
            Some(mcp_ultra_config::Transport::Stdio {
                command,
                args,
                env,
                cwd,
            }) => {
                let mut spec = StdioSpec::new(section.name.as_str(), command);
                spec.args = args
                    .iter()
                    .map(|arg| OsString::from(arg.as_str()))
                    .collect();
                spec.env = env
                    .iter()
                    .map(|(name, value)| (name.into(), value.expose().into()))
                    .collect();
                spec.cwd = cwd.map(PathBuf::from);
                spec.max_line_bytes = max_message;
                Reach::Stdio(Box::new(spec))
            }
            None => return Err(fail("neither command nor url".into())),
        };
        let extensions: Vec<&'static str> = config
            .extensions(section)
            .iter()
            .copied()
            .map(short_name)
            .collect();
        let call_timeout = config.call_timeout(section).get();
        Ok(Self {
            name: section.name.as_str().into(),
            naming,
            labels: labels(section),
            shared: section.shared,
            session_per_replica: section.session_per_gateway,
            fixed_era: match section.era {
                mcp_ultra_config::Era::Auto => None,
                mcp_ultra_config::Era::Modern => Some(Era::Modern),
                mcp_ultra_config::Era::Legacy => Some(Era::Legacy),
            },
            call_timeout,
            max_calls: usize::try_from(config.limits.calls_per_server.get()).unwrap_or(usize::MAX),
            breaker: breaker(config.breaker(section), call_timeout),
            retry: Some(config.retry.clone()).filter(|retry| retry.attempts > 0),
            idle_stop: section.idle_stop.get(),
            start_timeout: START_TIMEOUT,
            restart: RestartPolicy {
                min: section.restart.min.get(),
                max: section.restart.max.get(),
                ..RestartPolicy::default()
            },
            hello: own_hello(&extensions),
            extensions,
            reach,
            source: section.clone(),
            fingerprint: fingerprint(section),
        })
    }

    /// A digest of how it is configured, but for headers, the client secret and what is kept of its
    /// answers: gateways with the same one have the same server.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// A digest of the headers that requests to it have: gateways with the same one ask it as the same.
    /// Another one once they have changed.
    pub(crate) fn asked_with(&self) -> [u8; 32] {
        match &self.reach {
            Reach::Http(transport) => transport.asked_with(),
            Reach::Stdio(_) => [0; 32],
        }
    }

    /// Which access tokens requests to it are made with, where they are made with any.
    pub(crate) fn credentials_kind(&self) -> Option<CredentialsKind> {
        let credentials = self.source.credentials.as_ref();
        credentials.map(|credentials| credentials.kind)
    }

    /// What an operator can do about lists that could not be read.
    pub(crate) fn remedy(&self, error: &UpstreamError) -> Option<&'static str> {
        super::remedy::remedy(&self.source, error)
    }

    /// Takes over the values of headers and the client secret, which may be secrets that have
    /// changed.
    pub fn take_secrets_of(&self, other: &Self) {
        if let (Reach::Http(own), Reach::Http(new)) = (&self.reach, &other.reach) {
            own.take_headers_of(new);
            own.take_client_secret_of(new);
        }
    }

    /// The tokens that its callers grant in a browser, where it is that kind of server.
    pub(crate) fn granted(&self) -> Option<&Credentials> {
        match &self.reach {
            Reach::Http(transport) => transport
                .credentials()
                .filter(|credentials| credentials.are_granted()),
            Reach::Stdio(_) => None,
        }
    }

    /// The same, where one of them is lent for reading the lists.
    pub(crate) fn lent(&self) -> Option<&Credentials> {
        self.granted().filter(|credentials| credentials.are_lent())
    }

    pub(super) fn transport(&self) -> Transport {
        match &self.reach {
            Reach::Http(transport) => Transport::Http(transport.clone()),
            Reach::Stdio(spec) => Transport::Stdio((**spec).clone()),
        }
    }
}

/// As it is shown, references and what is masked stand for any value: those that say what the server is
/// are added.
fn fingerprint(section: &Section) -> [u8; 32] {
    let shown = Section {
        cache: None,
        ..section.clone()
    };
    let shown = serde_json::to_vec(&shown).unwrap_or_default();
    let Section {
        command,
        args,
        env,
        cwd,
        url,
        ..
    } = section;
    let text = |text: &Option<Text>| {
        text.as_ref()
            .map_or(Vec::new(), |text| text.as_str().into())
    };
    let url = url.as_ref().map_or("", |url| url.url().as_str());
    let (command, cwd) = (text(command), text(cwd));
    let mut parts: Vec<&[u8]> = vec![&shown, url.as_bytes(), &command, &cwd];
    parts.extend(args.iter().map(|arg| arg.as_str().as_bytes()));
    parts.extend(env.values().map(|value| value.expose().as_bytes()));
    Parts::digest("server", &parts)
}

fn breaker(section: &BreakerSection, call_timeout: Duration) -> Option<Rules> {
    section.enabled.then(|| Rules {
        window: section.window.get(),
        least_calls: section.least_calls.get().into(),
        in_a_row: section.failures_in_a_row.into(),
        failed: section.failed.into(),
        slow_after: section.slow_after.get(),
        slow: section.slow.into(),
        open_for: section.open_for.get(),
        open_at_most: section.open_at_most.get(),
        probes: section.probes.get().into(),
        // One that is not answered has failed by then.
        probe_for: call_timeout.saturating_add(Duration::from_secs(1)),
    })
}

fn labels(section: &Section) -> Labels {
    let exceptions = section.data_classes.iter().flat_map(|named| {
        let class = data_class(named.class);
        named.names.iter().map(move |name| (name.clone(), class))
    });
    Labels {
        server: section.name.as_str().into(),
        classes: Classes {
            default: data_class(section.data_class),
            exceptions: exceptions.collect(),
        },
        trust: Trust {
            read_only: section.read_only.clone(),
            annotations: section.trust_annotations,
        },
    }
}

fn data_class(class: mcp_ultra_config::DataClass) -> DataClass {
    match class {
        mcp_ultra_config::DataClass::Public => DataClass::Public,
        mcp_ultra_config::DataClass::Internal => DataClass::Internal,
        mcp_ultra_config::DataClass::Confidential => DataClass::Confidential,
        mcp_ultra_config::DataClass::Personal => DataClass::Personal,
        mcp_ultra_config::DataClass::Sensitive => DataClass::Sensitive,
    }
}

fn upstream_tls(section: &mcp_ultra_config::UpstreamTls) -> UpstreamTls {
    let own = section.certificate.as_ref().zip(section.key.as_ref());
    UpstreamTls {
        authorities: section.ca_file.as_ref().map(PathBuf::from),
        own: own.map(|(certificate, key)| (certificate.into(), key.into())),
    }
}

fn short_name(extension: Extension) -> &'static str {
    match extension {
        Extension::Tasks => "tasks",
        Extension::Ui => "ui",
        Extension::Skills => "skills",
    }
}

fn header_map(
    headers: &std::collections::BTreeMap<String, mcp_ultra_config::Secret>,
) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let header = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("headers: \"{name}\" is not a header name"))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| format!("headers: the value of \"{name}\" can't stand in a header"))?;
        value.set_sensitive(true);
        map.append(header, value);
    }
    Ok(map)
}

/// What the gateway says about itself where it asks on nobody's behalf. It declares everything,
/// since some servers list less to clients that can do less.
fn own_hello(extensions: &[&'static str]) -> Hello {
    let declared: Vec<String> = extensions
        .iter()
        .map(|name| match *name {
            "ui" => {
                r#""io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]}"#.into()
            }
            name => format!(r#""io.modelcontextprotocol/{name}":{{}}"#),
        })
        .collect();
    Hello {
        capabilities: format!(
            r#"{{"roots":{{"listChanged":true}},"sampling":{{}},"elicitation":{{"form":{{}},"url":{{}}}},"extensions":{{{}}}}}"#,
            declared.join(",")
        )
        .into(),
        client_info: crate::identity().into(),
        version: Version::LATEST_LEGACY,
        own: true,
    }
}
