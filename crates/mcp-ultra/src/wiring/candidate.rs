//! Everything that a snapshot is made of, read and checked together, and not in force yet: the
//! configuration, and what its files and the registry define besides.

use std::sync::Arc;

use mcp_ultra_config::{Config, ConfigError, Loaded, Origin, RegistryServer, Sources};
use mcp_ultra_control::registry::{Fault, FileEntry};
use mcp_ultra_domain::{
    flags::{FlagErrors, Flags},
    pinning::LockFile,
    policy::{Policies, PolicyErrors},
    registry::{Kind, Registry},
};

use super::{flags, pinning, policy};

/// Why something can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CandidateError {
    /// The configuration, or a server of the registry.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The flags.
    #[error("{0}")]
    Flags(#[from] FlagErrors),
    /// The policies.
    #[error("{0}")]
    Policies(#[from] PolicyErrors),
    /// The lock file of tools.
    #[error("{0}")]
    LockFile(#[from] pinning::LockError),
}

/// What could be in force.
pub(super) struct Candidate {
    /// The configuration, with the servers of the registry.
    pub(super) config: Config,
    /// The policies.
    pub(super) policies: Option<Arc<Policies>>,
    /// The flags.
    pub(super) flags: Option<Arc<Flags>>,
    /// The lock file of tools.
    pub(super) lock: Option<Arc<LockFile>>,
    /// What the files define, and the registry can't.
    pub(super) of_file: Vec<FileEntry>,
    /// What the registry has and is not used, since a file has it.
    pub(super) shadowed: Vec<(Kind, String)>,
}

/// What files define, or the registry.
pub(super) struct Defined<T> {
    /// All of it together.
    pub(super) all: Option<Arc<T>>,
    /// Names and places of what the files have.
    pub(super) of_file: Vec<(String, String)>,
    /// Names of what the registry has and the files have too.
    pub(super) shadowed: Vec<String>,
}

/// `sources` with the servers of the registry.
pub(super) fn with_servers(sources: &Sources, registry: &Registry) -> Sources {
    let servers = registry.of(Kind::Server).map(|entry| RegistryServer {
        name: entry.name.clone(),
        place: entry.place(),
        text: entry.text.clone(),
    });
    Sources {
        registry: servers.collect(),
        ..sources.clone()
    }
}

impl Candidate {
    /// Of a configuration that was loaded with the servers of this registry.
    ///
    /// # Errors
    /// [`CandidateError`]
    pub(super) fn of(loaded: Loaded, registry: &Registry) -> Result<Self, CandidateError> {
        let config = &loaded.config;
        let flags = flags::with_registry(&config.flags, registry)?;
        let policies = policy::with_registry(&config.policy, flags.all.as_ref(), registry)?;
        let lock = pinning::lock_file(&config.pinning)?;
        let (servers, shadowed) = (servers(&loaded), loaded.shadowed);
        let kinds = [
            (Kind::Server, servers, shadowed),
            (Kind::Policy, policies.of_file, policies.shadowed),
            (Kind::Flag, flags.of_file, flags.shadowed),
        ];
        let mut candidate = Self {
            config: loaded.config,
            policies: policies.all,
            flags: flags.all,
            lock,
            of_file: Vec::new(),
            shadowed: Vec::new(),
        };
        for (kind, of_file, shadowed) in kinds {
            let entries = of_file
                .into_iter()
                .map(|(name, place)| FileEntry { kind, name, place });
            candidate.of_file.extend(entries);
            let shadowed = shadowed.into_iter().map(|name| (kind, name));
            candidate.shadowed.extend(shadowed);
        }
        Ok(candidate)
    }
}

/// The servers of the file, and where they are.
fn servers(loaded: &Loaded) -> Vec<(String, String)> {
    let all = loaded.config.servers.iter().enumerate();
    all.filter(|(_, server)| !server.from_registry)
        .map(|(index, server)| {
            let origin = loaded.origin(&format!("servers[{index}]"));
            (server.name.clone(), origin.to_string())
        })
        .collect()
}

impl CandidateError {
    /// Whether something of the registry is wrong.
    pub(super) fn is_of_registry(&self) -> bool {
        let faults = self.faults();
        faults
            .iter()
            .any(|fault| fault.place.starts_with("registry/"))
    }

    /// Everything that is wrong, each with its place.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let whole = |message: String| Fault {
            place: String::new(),
            line: 0,
            column: 0,
            message,
        };
        match self {
            Self::Config(error) => error.problems().iter().map(of_config).collect(),
            Self::Flags(FlagErrors(problems)) => {
                let of = |problem: &mcp_ultra_domain::flags::FlagProblem| Fault {
                    place: problem.file.clone(),
                    line: problem.line,
                    column: problem.column,
                    message: with_help(&problem.message, problem.help.as_deref()),
                };
                problems.iter().map(of).collect()
            }
            Self::Policies(PolicyErrors(problems)) => {
                let of = |problem: &mcp_ultra_domain::policy::Problem| Fault {
                    place: policy::entry_of(&problem.file),
                    line: problem.line,
                    column: problem.column,
                    message: with_help(&problem.message, problem.help.as_deref()),
                };
                problems.iter().map(of).collect()
            }
            Self::LockFile(error) => vec![whole(error.to_string())],
        }
    }
}

fn of_config(problem: &mcp_ultra_config::Problem) -> Fault {
    let (place, line, column) = match &problem.origin {
        Origin::File { file, line, column } => (file.to_string(), *line, *column),
        other => (other.to_string(), 0, 0),
    };
    // Of a server of its own only what is below it says something.
    let path = match problem.path.split_once("].") {
        Some((_, below)) if place.starts_with("registry/") => below,
        _ => &problem.path,
    };
    let message = with_help(&problem.message, problem.help.as_deref());
    Fault {
        place,
        line: usize::try_from(line).unwrap_or(0),
        column: usize::try_from(column).unwrap_or(0),
        message: if path.is_empty() {
            message
        } else {
            format!("{path}: {message}")
        },
    }
}

fn with_help(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("{message}; {help}"),
        None => message.to_owned(),
    }
}
