//! From the section `policy` to what callers may do.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ultra_config::{Config, PolicySection};
use mcp_ultra_domain::{
    flags::Flags,
    policy::{Policies, PolicyErrors, Problem, Source},
    registry::{Entry, Kind, Registry},
};

use super::candidate::Defined;

/// The largest file of policies, in bytes.
const LARGEST: u64 = 4 << 20;

/// What the name of a file of policies ends with.
const CEDAR: &str = ".cedar";

/// The policies of a configuration and of the registry, which may read these flags; none where the
/// configuration has none, and everything is permitted. What a file is called no entry of the registry is.
pub(super) fn with_registry(
    section: &PolicySection,
    flags: Option<&Arc<Flags>>,
    registry: &Registry,
) -> Result<Defined<Policies>, PolicyErrors> {
    if !section.is_on() {
        return of_nothing(registry);
    }
    let paths: Vec<PathBuf> = section.files.iter().map(PathBuf::from).collect();
    let mut sources = sources(&paths)?;
    let of_file: Vec<(String, String)> = sources
        .iter()
        .filter_map(|source| Some((name_of(&source.name)?, source.name.clone())))
        .collect();
    let has = |entry: &&Entry| of_file.iter().any(|(name, _)| *name == entry.name);
    let (shadowed, rest): (Vec<&Entry>, Vec<&Entry>) = registry.of(Kind::Policy).partition(has);
    sources.extend(rest.iter().map(|entry| Source {
        name: format!("{}{CEDAR}", entry.place()),
        text: entry.text.clone(),
    }));
    let zone = section.time_zone.as_deref();
    let policies = Policies::compile_with_flags(&sources, zone, flags.cloned())?;
    Ok(Defined {
        all: Some(Arc::new(policies)),
        shadowed: shadowed.iter().map(|entry| entry.name.clone()).collect(),
        of_file,
    })
}

/// The same without what is only of use to a gateway.
pub(crate) fn policies(
    section: &PolicySection,
    flags: Option<&Arc<Flags>>,
    registry: &Registry,
) -> Result<Option<Arc<Policies>>, PolicyErrors> {
    Ok(with_registry(section, flags, registry)?.all)
}

/// Without policies of the configuration everything is permitted. The first policy of all would turn
/// that over for everybody, those who administer the gateway among them: that is the file's to say.
fn of_nothing(registry: &Registry) -> Result<Defined<Policies>, PolicyErrors> {
    let refused = registry.of(Kind::Policy).map(|entry| Problem {
        file: entry.place(),
        line: 0,
        column: 0,
        message: "the configuration has no policies, so everything is permitted, and the first policy would refuse everything else".to_owned(),
        help: Some("name some in policy.files first, such as who may administer the gateway".to_owned()),
    });
    let refused: Vec<Problem> = refused.collect();
    if refused.is_empty() {
        return Ok(Defined {
            all: None,
            of_file: Vec::new(),
            shadowed: Vec::new(),
        });
    }
    Err(PolicyErrors(refused))
}

/// The name of a file of policies without folder and ending; `None` for one of types.
fn name_of(file: &str) -> Option<String> {
    let file = Path::new(file);
    let ending = file.extension()?.to_str()?;
    let name = file.file_stem()?.to_str()?;
    (ending == "cedar").then(|| name.to_owned())
}

/// The entry of the registry, where messages name one as a file.
pub(super) fn entry_of(file: &str) -> String {
    let is_entry = file.starts_with("registry/");
    let name = file.strip_suffix(CEDAR).filter(|_| is_entry);
    name.unwrap_or(file).to_owned()
}

/// What is odd about who may administer the gateway, in words: where it has an admin API, nobody by
/// the policies, or somebody whom they permit everything without naming it.
pub(crate) fn odd_about_admin(policies: &Policies) -> Option<String> {
    let permits = policies.admin_permits();
    if permits.is_empty() {
        return Some(
            "no policy permits an action of the admin API, so nobody may use it: permit some of `action in Action::\"admin\"`".to_owned(),
        );
    }
    if permits.everything.is_empty() {
        return None;
    }
    let names = permits.everything.join(", ");
    Some(format!(
        "these policies permit every action on every resource, and so the admin API too: {names}; name actions or resources in their scope unless that is meant"
    ))
}

/// Says in the log what is odd about who may use the admin API, where there is one.
pub(super) fn tell_of_admin(config: &Config, policies: Option<&Policies>) {
    if config.admin.port.is_none() {
        return;
    }
    if let Some(odd) = policies.and_then(odd_about_admin) {
        tracing::warn!("{odd}");
    }
}

/// Reads files, and the files of policies and types in folders.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, PolicyErrors> {
    let mut sources: Vec<Source> = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for file in files {
            match read(&file) {
                // A file that is named besides its folder is one file.
                Ok(source) if sources.iter().any(|known| known.name == source.name) => {}
                Ok(source) => sources.push(source),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() {
        Ok(sources)
    } else {
        Err(PolicyErrors(problems))
    }
}

/// Whether a file is one of policies or of types, by its name.
pub(super) fn is_ours(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = file.extension().unwrap_or_default();
    !hidden && (extension == "cedar" || extension == "cedarschema")
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)
        .map_err(|error| problem(path, &format!("the folder can't be read: {error}")))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| is_ours(file) && file.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        let message = "there is no .cedar file in this folder, and so nothing would be permitted";
        return Err(problem(path, message));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Source, Problem> {
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(problem(path, &format!("the file can't be read: {error}"))),
        Ok(length) if length as u64 > LARGEST => {
            Err(problem(path, "the file is larger than 4 MiB"))
        }
        Ok(_) => Ok(Source {
            name: path.display().to_string(),
            text,
        }),
    }
}

fn problem(path: &Path, message: &str) -> Problem {
    Problem {
        file: path.display().to_string(),
        line: 0,
        column: 0,
        message: message.to_owned(),
        help: None,
    }
}
