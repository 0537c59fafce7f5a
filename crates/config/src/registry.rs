//! Servers of the registry, beside those of the file: how they become part of the same tree, and what
//! may stand in them. Whoever may change the registry is not whoever has the machine, so less may than
//! in the file.

use std::sync::Arc;

use crate::{
    error::{ConfigError, Problem},
    node::{self, Entry, Node, Place, Segment, Value, show},
    origin::Origin,
    reference::{Part, parts},
    secret::SecretName,
    sections::RegistrySection,
    suspicion::secret_in_argument,
    text::SCHEMES,
};

/// The list that they become part of.
const SERVERS: &str = "servers";

/// A server of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryServer {
    /// Its name, which its section need not repeat.
    pub name: String,
    /// How messages name its text, as they name the file.
    pub place: String,
    /// Its section, YAML or JSON.
    pub text: String,
}

/// What became part of the tree.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// The places in the list of servers, and the names.
    pub(crate) servers: Vec<(usize, String)>,
    /// Those whose names the file has.
    pub(crate) shadowed: Vec<String>,
}

/// Puts the servers behind those of the file. One whose name is there already is left out.
pub(crate) fn add(tree: &mut Node, servers: &[RegistryServer]) -> Result<Added, ConfigError> {
    let mut added = Added::default();
    if servers.is_empty() {
        return Ok(added);
    }
    let Some(list) = list(tree) else {
        return Ok(added);
    };
    let of_file: Vec<String> = list.iter().filter_map(name_of).collect();
    for server in servers {
        if of_file.contains(&server.name) {
            added.shadowed.push(server.name.clone());
            continue;
        }
        let mut section = node::parse(&Arc::from(server.place.as_str()), &server.text)?;
        name(&mut section, server)?;
        added.servers.push((list.len(), server.name.clone()));
        list.push(section);
    }
    Ok(added)
}

/// The items of `servers`; `None` where that is no list, which reading it reports.
fn list(tree: &mut Node) -> Option<&mut Vec<Node>> {
    let Value::Map(entries) = &mut tree.value else {
        return None;
    };
    let at = entries.iter().position(|entry| entry.key == SERVERS);
    let at = at.unwrap_or_else(|| {
        let place = Place {
            origin: Origin::Default,
            width: 1,
        };
        entries.push(Entry {
            key: SERVERS.to_owned(),
            place: place.clone(),
            node: Node {
                value: Value::Null,
                place,
            },
        });
        entries.len() - 1
    });
    let node = &mut entries.get_mut(at)?.node;
    if matches!(node.value, Value::Null) {
        node.value = Value::List(Vec::new());
    }
    match &mut node.value {
        Value::List(items) => Some(items),
        _ => None,
    }
}

fn name_of(section: &Node) -> Option<String> {
    let name = section.get(&[Segment::Key("name".to_owned())])?;
    text(name).map(str::to_owned)
}

/// Gives the section its name; one that has another is refused.
fn name(section: &mut Node, server: &RegistryServer) -> Result<(), ConfigError> {
    let path = [Segment::Key("name".to_owned())];
    match section.get(&path) {
        Some(own) if text(own) == Some(&server.name) => return Ok(()),
        Some(own) => {
            let message = format!("the server is called `{}` here", server.name);
            let help = "leave the name out, or write the same one";
            return Err(ConfigError::one(problem(own, &path, &message, help)));
        }
        None => {}
    }
    let place = section.place.clone();
    let Value::Map(entries) = &mut section.value else {
        let message = "expected the section of a server: a group of keys";
        let help = "write `key: value` lines, such as url: https://crm.example.com/mcp";
        return Err(ConfigError::one(problem(section, &[], message, help)));
    };
    entries.push(Entry {
        key: "name".to_owned(),
        place: place.clone(),
        node: Node {
            value: Value::Str(server.name.clone()),
            place,
        },
    });
    Ok(())
}

/// What may stand in the file and not in the registry.
pub(crate) fn check(tree: &Node, added: &Added, rules: &RegistrySection) -> Vec<Problem> {
    let mut found = Vec::new();
    for (index, _) in &added.servers {
        let path = [Segment::Key(SERVERS.to_owned()), Segment::Index(*index)];
        if let Some(section) = tree.get(&path) {
            let mut check = Check {
                rules,
                path: path.to_vec(),
                found: &mut found,
            };
            check.section(section);
        }
    }
    found
}

struct Check<'c> {
    rules: &'c RegistrySection,
    path: Vec<Segment>,
    found: &'c mut Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, at: &Node, message: &str, help: &str) {
        self.found.push(problem(at, &self.path, message, help));
    }

    fn section(&mut self, section: &Node) {
        let Value::Map(entries) = &section.value else {
            return;
        };
        for Entry { key, node, .. } in entries {
            if matches!(node.value, Value::Null | Value::Removed) {
                continue;
            }
            self.path.push(Segment::Key(key.clone()));
            match key.as_str() {
                "command" if !self.rules.allow_stdio => self.report(
                    node,
                    "a program may not be started from the registry",
                    "give it a url, define it in the file, or set registry.allow_stdio there",
                ),
                "tls" => self.report(
                    node,
                    "files of the gateway's machine are named in its file alone",
                    "leave it out (outbound.ca_file is trusted for all servers), or define the server in the file",
                ),
                "headers" | "env" => self.secrets(node),
                "credentials" => self.credentials(node),
                "url" => self.url(node),
                "args" => self.arguments(node),
                _ => {}
            }
            self.references(node);
            self.path.pop();
        }
    }

    /// Callers' own tokens and grants go where the operator of the machine says, and nowhere else.
    fn credentials(&mut self, section: &Node) {
        let Value::Map(entries) = &section.value else {
            return;
        };
        for Entry { key, node, .. } in entries {
            self.path.push(Segment::Key(key.clone()));
            match key.as_str() {
                "kind" if text(node).is_some_and(|kind| kind != "client_credentials") => self
                    .report(
                        node,
                        "tokens of callers are not sent where the registry says",
                        "use client_credentials, or define the server in the file",
                    ),
                "client_secret" => self.secret(node),
                _ => {}
            }
            self.path.pop();
        }
    }

    fn secrets(&mut self, section: &Node) {
        let Value::Map(entries) = &section.value else {
            return;
        };
        for Entry { key, node, .. } in entries {
            self.path.push(Segment::Key(key.clone()));
            self.secret(node);
            self.path.pop();
        }
    }

    /// Everything that a secret may be is one.
    fn secret(&mut self, node: &Node) {
        let is_reference = |text: &str| {
            let is_fine = |part: &Part<'_>| match part {
                Part::Reference(_) => true,
                Part::Literal(literal) => SCHEMES.contains(literal),
            };
            let parts = parts(text).unwrap_or_default();
            parts.iter().all(is_fine) && parts.iter().any(|part| matches!(part, Part::Reference(_)))
        };
        if !text(node).is_some_and(is_reference) {
            self.report(
                node,
                "a value that may be a secret is not kept in the registry",
                "write ${secret:NAME}, and name that secret in registry.secrets of the file",
            );
        }
    }

    fn url(&mut self, node: &Node) {
        let query = text(node).and_then(|url| url.split_once('?'));
        let is_literal = |part: &Part<'_>| matches!(part, Part::Literal(_));
        if let Some((_, query)) = query
            && parts(query).unwrap_or_default().iter().any(is_literal)
        {
            self.report(
                node,
                "what follows `?` may be a key, and those are not kept in the registry",
                "write ${secret:NAME} for all of it, or put keys into headers",
            );
        }
    }

    fn arguments(&mut self, node: &Node) {
        let Value::List(items) = &node.value else {
            return;
        };
        let mut before = None;
        for item in items {
            let Some(argument) = text(item) else { continue };
            if !argument.contains("${") && secret_in_argument(before, argument).is_some() {
                self.report(
                    item,
                    "this argument looks like a secret, and those are not kept in the registry",
                    "write ${secret:NAME}",
                );
            }
            before = Some(argument);
        }
    }

    /// Variables and files of the machine are not for whoever may change servers.
    fn references(&mut self, node: &Node) {
        match &node.value {
            Value::Map(entries) => {
                for Entry { key, node, .. } in entries {
                    self.path.push(Segment::Key(key.clone()));
                    self.references(node);
                    self.path.pop();
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Segment::Index(index));
                    self.references(item);
                    self.path.pop();
                }
            }
            _ => {
                // Text that is no reference at all is reported where it is read.
                for part in text(node)
                    .and_then(|text| parts(text).ok())
                    .unwrap_or_default()
                {
                    if let Part::Reference(reference) = part {
                        self.reference(node, reference);
                    }
                }
            }
        }
    }

    fn reference(&mut self, node: &Node, reference: &str) {
        let Some(name) = reference.strip_prefix("secret:") else {
            return self.report(
                node,
                "the registry refers to no variables and no files of the gateway's machine",
                "write ${secret:NAME}, and name that secret in registry.secrets of the file",
            );
        };
        if let Some(name) = SecretName::parse(name)
            && !self.rules.may_use(&name)
        {
            self.report(
                node,
                &format!("servers of the registry may not use the secret `{name}`"),
                "name it in registry.secrets of the file",
            );
        }
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Typed(_, text) | Value::Str(text) | Value::Loose(text) => Some(text),
        _ => None,
    }
}

fn problem(at: &Node, path: &[Segment], message: &str, help: &str) -> Problem {
    Problem {
        origin: at.place.origin.clone(),
        path: show(path),
        message: message.to_owned(),
        help: Some(help.to_owned()),
        snippet: None,
        width: at.place.width,
    }
}
