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
};

/// The largest file of policies, in bytes.
const LARGEST: u64 = 4 << 20;

/// The policies of a configuration, which may read these flags; `None` where it has none, and everything is permitted.
pub(crate) fn policies(
    section: &PolicySection,
    flags: Option<&Arc<Flags>>,
) -> Result<Option<Arc<Policies>>, PolicyErrors> {
    if !section.is_on() {
        return Ok(None);
    }
    let paths: Vec<PathBuf> = section.files.iter().map(PathBuf::from).collect();
    let sources = sources(&paths)?;
    let zone = section.time_zone.as_deref();
    let policies = Policies::compile_with_flags(&sources, zone, flags.cloned())?;
    Ok(Some(Arc::new(policies)))
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
