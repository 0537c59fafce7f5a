//! The way from text to a checked configuration: defaults, then file, environment, flags.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    environment::{self, CONFIG_VARIABLE, variables},
    error::{ConfigError, Problem, Warning, snippet},
    nearest::nearest,
    node::{self, LARGEST_FILE, Node, Segment, Value, show},
    origin::Origin,
    read::{Refused, read},
    reference::Lookup,
    registry::{self, Added, RegistryServer},
    secret::SecretValues,
    sections::Config,
    validate::{Finding, Findings},
};

/// Everything a configuration is made of. Later ones win: defaults, file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<SourceFile>,
    /// The whole environment: `MCP_ULTRA_…` sets values, references look up any name.
    pub environment: BTreeMap<String, String>,
    /// Values from the command line, in their order.
    pub flags: Vec<Flag>,
    /// Servers of the registry, which come behind those of the file.
    pub registry: Vec<RegistryServer>,
    /// The secrets that `${secret:NAME}` stands for; [`crate::SecretsPlan`] says which are needed.
    pub secrets: SecretValues,
    /// What to do about references that lead nowhere.
    pub missing: MissingReferences,
}

/// A configuration file that has been read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The file as messages name it.
    pub name: String,
    /// Its content: YAML or JSON.
    pub text: String,
}

/// A value from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as messages name it, such as `--port`.
    pub name: String,
    /// The path of the value, such as `server.port`.
    pub path: String,
    /// The value; items of a list stand between commas.
    pub value: String,
}

/// What to do about `${NAME}` and `${file:…}` that lead nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingReferences {
    /// Refuse the configuration: what a gateway does.
    #[default]
    Refuse,
    /// Go on with a stand-in: what `config validate` may do where secrets are not at hand.
    Accept,
}

/// A configuration that can be used, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd but no reason to stop.
    pub warnings: Vec<Warning>,
    /// The servers of the registry that are not used, since the file has others of their names.
    pub shadowed: Vec<String>,
    pub(crate) origins: BTreeMap<String, Origin>,
}

impl Sources {
    /// The sources of this process: `file`, else the file named by `MCP_ULTRA_CONFIG`, else none;
    /// and the environment. Variables that are not UTF-8 are left out.
    pub fn from_process(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut sources = Self::from_environment();
        let path = file
            .map(Path::to_path_buf)
            .or_else(|| sources.named_file().map(PathBuf::from));
        sources.file = path.as_deref().map(SourceFile::read).transpose()?;
        Ok(sources)
    }

    /// The environment of this process alone. Variables that are not UTF-8 are left out.
    pub fn from_environment() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            environment,
            ..Self::default()
        }
    }

    /// The file that the environment names, whether it is read or not.
    pub fn named_file(&self) -> Option<&str> {
        let name = self.environment.get(CONFIG_VARIABLE)?;
        (!name.is_empty()).then_some(name)
    }

    /// These sources with a value from the command line.
    pub fn with_flag(
        mut self,
        name: impl Into<String>,
        path: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.flags.push(Flag {
            name: name.into(),
            path: path.into(),
            value: value.into(),
        });
        self
    }
}

impl SourceFile {
    /// Reads a file, at most 4 MiB of UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| {
                let help = "name the file with --config or MCP_ULTRA_CONFIG";
                whole_file(
                    &name,
                    format!("the file can't be read: {error}"),
                    Some(help),
                )
            })?;
        Self::from_bytes(name, bytes)
    }

    /// A file that is already in memory.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, ConfigError> {
        let name = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = error.as_bytes().get(..good).unwrap_or_default();
                let line = before.split(|byte| *byte == b'\n').count();
                let message = format!("line {line} is not UTF-8 text");
                Err(whole_file(&name, message, Some("save the file as UTF-8")))
            }
        }
    }
}

fn whole_file(name: &str, message: String, help: Option<&str>) -> ConfigError {
    ConfigError::one(Problem {
        origin: Origin::File {
            file: name.into(),
            line: 0,
            column: 0,
        },
        path: String::new(),
        message,
        help: help.map(str::to_owned),
        snippet: None,
        width: 1,
    })
}

/// Loads a configuration from a text alone: no environment, no flags. For tests and fuzzing.
pub fn load_str(text: &str, file_name: &str) -> Result<Loaded, ConfigError> {
    let file = SourceFile {
        name: file_name.to_owned(),
        text: text.to_owned(),
    };
    load(&Sources {
        file: Some(file),
        ..Sources::default()
    })
}

/// Loads a configuration; the error holds everything that is wrong with it.
///
/// # Errors
///
/// [`ConfigError`] for text that is no YAML, unknown keys, wrong types, impossible values and
/// references that lead nowhere.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let Merged {
        mut tree,
        mut warnings,
        mut problems,
        added,
    } = merged(sources)?;
    let lookup = Lookup {
        environment: &sources.environment,
        secrets: &sources.secrets,
        missing: sources.missing,
    };
    // Reading takes out what is wrong.
    let as_written = (!added.servers.is_empty()).then(|| tree.clone());
    let (mut config, refused) = read::<Config>(&mut tree, &lookup);
    problems.extend(refused_problems(refused, sources));
    if let Some(config) = &mut config {
        let forbidden = as_written
            .map(|tree| registry::check(&tree, &added, &config.registry))
            .unwrap_or_default();
        if !forbidden.is_empty() {
            // And nothing besides: what may not be used is not told of either.
            return Err(ConfigError::new(forbidden));
        }
        let is_added = |name: &str| added.servers.iter().any(|(_, added)| added == name);
        for server in &mut config.servers {
            server.from_registry = is_added(&server.name);
        }
        let mut findings = Findings::new(sources.missing == MissingReferences::Accept);
        config.check(&mut findings);
        problems.extend(findings_problems(findings, &tree, sources));
    }
    match config {
        Some(config) if problems.is_empty() => {
            let mut origins = BTreeMap::new();
            warnings.extend(config.warnings());
            collect_origins(&tree, &mut Vec::new(), &mut origins);
            Ok(Loaded {
                config,
                warnings,
                shadowed: added.shadowed,
                origins,
            })
        }
        _ => {
            problems.sort_by_key(|problem| match &problem.origin {
                Origin::File { line, column, .. } => (0, *line, *column),
                Origin::Environment { .. } => (1, 0, 0),
                Origin::Flag { .. } => (2, 0, 0),
                Origin::Default => (3, 0, 0),
            });
            Err(ConfigError::new(problems))
        }
    }
}

/// All sources as one tree.
pub(crate) struct Merged {
    /// The tree.
    pub(crate) tree: Node,
    /// What is odd.
    pub(crate) warnings: Vec<Warning>,
    /// Flags that set nothing.
    pub(crate) problems: Vec<Problem>,
    /// What the registry has added.
    pub(crate) added: Added,
}

/// Makes one tree of file, environment, flags and registry.
pub(crate) fn merged(sources: &Sources) -> Result<Merged, ConfigError> {
    let mut tree = match &sources.file {
        Some(file) => node::parse(&Arc::from(file.name.as_str()), &file.text)?,
        None => Node::empty(),
    };
    let (values, warnings) = environment::read(&sources.environment);
    for (path, name, value) in values {
        let keys: Vec<&str> = path.split('.').collect();
        tree.set(&keys, value, &Origin::Environment { name: name.into() });
    }
    let mut problems = Vec::new();
    for flag in &sources.flags {
        problems.extend(set_flag(&mut tree, flag));
    }
    let added = registry::add(&mut tree, &sources.registry)?;
    Ok(Merged {
        tree,
        warnings,
        problems,
        added,
    })
}

pub(crate) fn refused_problems(refused: Vec<Refused>, sources: &Sources) -> Vec<Problem> {
    let problem = |refused| refused_problem(refused, sources);
    refused.into_iter().map(problem).collect()
}

pub(crate) fn findings_problems(
    findings: Findings,
    tree: &Node,
    sources: &Sources,
) -> Vec<Problem> {
    let found = findings.into_list().into_iter();
    found
        .filter_map(|finding| finding_problem(finding, tree, sources))
        .collect()
}

fn set_flag(tree: &mut Node, flag: &Flag) -> Option<Problem> {
    let origin = Origin::Flag {
        name: flag.name.as_str().into(),
    };
    if variables().values().any(|path| *path == flag.path) {
        let keys: Vec<&str> = flag.path.split('.').collect();
        tree.set(&keys, &flag.value, &origin);
        return None;
    }
    let meant = nearest(&flag.path, variables().values().map(String::as_str));
    Some(Problem {
        origin,
        path: flag.path.clone(),
        message: "there is no such value to set".into(),
        help: meant.map(|meant| format!("did you mean `{meant}`?")),
        snippet: None,
        width: 1,
    })
}

fn refused_problem(refused: Refused, sources: &Sources) -> Problem {
    Problem {
        snippet: line_of(&refused.place.origin, sources),
        path: show(&refused.path),
        origin: refused.place.origin,
        message: refused.message,
        help: refused.help,
        width: refused.place.width,
    }
}

/// The problem for a finding, unless it only follows from one that was reported already.
fn finding_problem(finding: Finding, tree: &Node, sources: &Sources) -> Option<Problem> {
    let (path, node) = tree.find(&finding.path);
    if node.has_removed() {
        return None;
    }
    let path = if path.is_empty() {
        finding.path
    } else {
        same_length(&finding.path, &path)
    };
    Some(Problem {
        snippet: line_of(&node.place.origin, sources),
        path,
        origin: node.place.origin.clone(),
        message: finding.message,
        help: Some(finding.help),
        width: node.place.width,
    })
}

/// The path as the file counts its items, with what the finding names beyond the written part.
fn same_length(finding: &str, found: &[Segment]) -> String {
    let shown = show(found);
    let deeper = finding
        .split('.')
        .count()
        .saturating_sub(shown.split('.').count());
    let parts: Vec<&str> = finding.split('.').collect();
    let tail = parts.get(parts.len() - deeper..).unwrap_or_default();
    [&[shown.as_str()], tail].concat().join(".")
}

/// The line of the file. Of the registry nothing is shown that was not asked for.
fn line_of(origin: &Origin, sources: &Sources) -> Option<String> {
    match (origin, &sources.file) {
        (Origin::File { file, line, .. }, Some(source)) if **file == *source.name => {
            snippet(&source.text, *line)
        }
        _ => None,
    }
}

fn collect_origins(node: &Node, path: &mut Vec<Segment>, origins: &mut BTreeMap<String, Origin>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                path.push(Segment::Key(entry.key.clone()));
                collect_origins(&entry.node, path, origins);
                path.pop();
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Segment::Index(index));
                collect_origins(item, path, origins);
                path.pop();
            }
        }
        // Written, but saying nothing: the default holds.
        Value::Null | Value::Removed => return,
        _ => {}
    }
    origins.insert(show(path), node.place.origin.clone());
}
