//! One request as a file or the command line describes it.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use mcp_ultra_domain::{
    Attributes, DEFAULT_TENANT, Login, Principal, PrincipalKind,
    catalog::Templates,
    policy::{
        Action, Annotations, Ask, Circumstances, DataClass, Decision, Policies, Resource, Target,
    },
};
use mcp_ultra_edge::identity::authorization_details;
use mcp_ultra_protocol::uri;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// Who asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::cli) struct Who {
    pub kind: Option<String>,
    pub subject: Option<String>,
    pub issuer: Option<String>,
    pub tenant: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    /// When the login was, as a text.
    pub auth_time: Option<String>,
    /// What was allowed in detail, as a token has it.
    pub authorization_details: Option<Value>,
}

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::cli) struct What {
    pub tool: Option<String>,
    pub prompt: Option<String>,
    pub resource: Option<String>,
    /// One template, or those that the resource is of.
    #[serde(deserialize_with = "one_or_many")]
    pub template: Vec<String>,
    pub administration: Option<String>,
    pub server: Option<String>,
    pub class: Option<String>,
    pub read_only: Option<bool>,
    pub destructive: Option<bool>,
    pub idempotent: Option<bool>,
    pub open_world: Option<bool>,
}

/// From where, when and with what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::cli) struct Around {
    pub time: Option<String>,
    pub address: Option<IpAddr>,
    pub arguments: Option<Map<String, Value>>,
}

/// A request that makes sense.
pub(super) struct Request {
    pub principal: Principal,
    pub action: Action,
    pub resource: Resource,
    now: Duration,
    address: Option<IpAddr>,
    arguments: Option<String>,
    ask: Ask,
}

impl Request {
    /// `action` is the id of one; `now` is the time where none is given.
    ///
    /// # Errors
    /// What makes no sense, in words.
    pub(super) fn new(
        principal: Principal,
        action: Option<&str>,
        what: &What,
        around: &Around,
        list: bool,
        now: Duration,
    ) -> Result<Self, String> {
        let resource = what.resource()?;
        let usual = match &resource.target {
            Target::Tool(_) => Some(Action::ToolsCall),
            Target::Prompt => Some(Action::PromptsGet),
            Target::Resource { .. } | Target::Template => Some(Action::ResourcesRead),
            Target::Administration { .. } => None,
        };
        let action = match action {
            None => usual
                .ok_or_else(|| format!("say what is to be done: {}", named(Action::is_admin)))?,
            Some(name) => Action::named(name).ok_or_else(|| {
                format!(
                    "there is no action \"{name}\"; use one of {}",
                    named(|_| true)
                )
            })?,
        };
        if action.is_admin() != usual.is_none() {
            return Err(format!(
                "{} is nothing that can be done to this: actions of the admin API are done to an administration, and no others",
                action.as_str()
            ));
        }
        if list && Some(action) != usual {
            let usual = usual.map_or("MCP", Action::as_str);
            return Err(format!("only what may be called by {usual} is listed"));
        }
        let now = around.now(now)?;
        let arguments = around.arguments.clone().map(Value::Object);
        Ok(Self {
            principal,
            action,
            resource,
            now,
            address: around.address,
            arguments: arguments.map(|arguments| arguments.to_string()),
            ask: if list { Ask::List } else { Ask::Call },
        })
    }

    /// What the policies say.
    pub(super) fn decide(&self, policies: &Policies) -> Decision {
        let circumstances = Circumstances {
            now: self.now,
            address: self.address,
            arguments: self.arguments.as_deref(),
        };
        let standing = policies.standing(&self.principal);
        policies
            .decide(
                &standing,
                self.action,
                &self.resource,
                self.ask,
                &circumstances,
            )
            .decision
    }
}

impl Around {
    /// The time of the request; `now` where none is given.
    pub(in crate::cli) fn now(&self, now: Duration) -> Result<Duration, String> {
        self.time.as_deref().map_or(Ok(now), time)
    }
}

/// A time since the Unix epoch.
fn time(text: &str) -> Result<Duration, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("\"{text}\" is not a time such as 2026-11-02T12:30:00Z"))?;
    Duration::try_from(time.as_duration()).map_err(|_| format!("\"{text}\" is before 1970"))
}

/// A text, or an array of texts.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

/// The ids of some actions.
fn named(which: fn(Action) -> bool) -> String {
    let known = Action::ALL.into_iter().filter(|action| which(*action));
    known.map(Action::as_str).collect::<Vec<_>>().join(", ")
}

impl Who {
    /// The principal that is described.
    pub(in crate::cli) fn principal(&self) -> Result<Principal, String> {
        let kind = match self.kind.as_deref() {
            None if self.subject.is_none() => PrincipalKind::Anonymous,
            None | Some("user") => PrincipalKind::User,
            Some("anonymous") => PrincipalKind::Anonymous,
            Some("agent") => PrincipalKind::Agent,
            Some("workload") => PrincipalKind::Workload,
            Some(other) => {
                return Err(format!(
                    "there is no kind \"{other}\"; use user, agent, workload or anonymous"
                ));
            }
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let tenant = self.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
        let mut attributes =
            Attributes::new(kind, tenant, &text(&self.issuer), &text(&self.subject));
        let set = |words: &[String]| words.iter().cloned().collect::<BTreeSet<_>>();
        attributes.roles = set(&self.roles);
        attributes.scopes = set(&self.scopes);
        attributes.login = Login {
            acr: self.acr.clone(),
            amr: set(&self.amr),
            auth_time: self.auth_time.as_deref().map(time).transpose()?,
        };
        if let Some(details) = &self.authorization_details {
            let claims = json!({ "authorization_details": details });
            let details = authorization_details(&claims).map_err(
                |_| "authorization_details is not an array of objects with a type (RFC 9396)",
            )?;
            attributes.authorization_details = details;
        }
        Ok(attributes.into())
    }
}

impl What {
    /// The thing that is described.
    pub(in crate::cli) fn resource(&self) -> Result<Resource, String> {
        if let Some(id) = &self.administration {
            let others = [&self.tool, &self.prompt, &self.resource];
            if others.into_iter().any(Option::is_some) || !self.template.is_empty() {
                return Err(
                    "name one thing: an administration has no tool, prompt, resource or template"
                        .to_owned(),
                );
            }
            return Resource::administration_named(id).ok_or_else(|| {
                format!("there is no administration \"{id}\"; use tenant:NAME or gateway")
            });
        }
        let default = Annotations::default();
        let read_only = self.read_only.unwrap_or(default.read_only);
        let stated = Annotations {
            read_only,
            destructive: !read_only && self.destructive.unwrap_or(default.destructive),
            idempotent: self.idempotent.unwrap_or(default.idempotent),
            open_world: self.open_world.unwrap_or(default.open_world),
        };
        let (target, name) = match (&self.tool, &self.prompt, &self.resource, &*self.template) {
            (Some(name), None, None, []) => (Target::Tool(stated), name),
            (None, Some(name), None, []) => (Target::Prompt, name),
            (None, None, Some(uri), of) => {
                let templates = Templates {
                    exact: of.iter().cloned().map(Into::into).collect(),
                    possible: Vec::new(),
                };
                (Target::Resource { templates }, uri)
            }
            (None, None, None, [uri]) => (Target::Template, uri),
            _ => {
                return Err(
                    "name one thing: a tool, a prompt, a resource (with the templates that it is of, where it is of any), a template or an administration"
                        .to_owned(),
                );
            }
        };
        let class = match &self.class {
            None => DataClass::default(),
            Some(name) => DataClass::ALL
                .into_iter()
                .find(|class| class.as_str() == name)
                .ok_or_else(|| {
                    let known: Vec<&str> =
                        DataClass::ALL.iter().map(|class| class.as_str()).collect();
                    format!(
                        "there is no data class \"{name}\"; use one of {}",
                        known.join(", ")
                    )
                })?,
        };
        // The public name begins with the server's, unless that has a prefix of its own.
        let prefix = name.split(['_', '+']).next().unwrap_or_default();
        let server = self.server.as_deref().unwrap_or(prefix);
        let of = |target, name: &str| {
            let name = name.to_owned().into();
            Resource::new(target, name, server.into(), class)
        };
        let resource = of(target.clone(), name);
        let normal = uri::normal(name);
        Ok(match target {
            Target::Resource { .. } if normal != name.as_str() => {
                resource.with_normal(of(target, &normal))
            }
            _ => resource,
        })
    }
}
