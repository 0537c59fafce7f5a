//! From the section `flags` to feature flags.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ultra_config::{Config, FlagsSection};
use mcp_ultra_domain::{
    flags::{FlagErrors, FlagProblem, Flags, Source, Switches},
    registry::{Entry, Kind, Registry},
};

use super::candidate::Defined;

/// The largest file of definitions, in bytes.
const LARGEST: u64 = 4 << 20;

/// The flags of a configuration and of the registry; none where neither has any. What a file has is
/// taken from there.
pub(super) fn with_registry(
    section: &FlagsSection,
    registry: &Registry,
) -> Result<Defined<Flags>, FlagErrors> {
    let paths: Vec<PathBuf> = section.files.iter().map(PathBuf::from).collect();
    let mut sources = sources(&paths)?;
    let files = Flags::read(&sources)?;
    let place = |(file, line): (&str, usize)| format!("{file}:{line}");
    let of_file = files
        .iter()
        .map(|flag| (flag.key().to_owned(), place(flag.place())))
        .collect();
    let (shadowed, rest): (Vec<&Entry>, Vec<&Entry>) = registry
        .of(Kind::Flag)
        .partition(|entry| files.get(&entry.name).is_some());
    let all = if rest.is_empty() {
        section.is_on().then_some(files)
    } else {
        for entry in rest {
            sources.push(source_of(entry)?);
        }
        Some(Flags::read(&sources).map_err(|errors| as_written(errors, registry))?)
    };
    Ok(Defined {
        all: all.map(Arc::new),
        of_file,
        shadowed: shadowed.iter().map(|entry| entry.name.clone()).collect(),
    })
}

/// The same without what is only of use to a gateway.
pub(crate) fn flags(
    section: &FlagsSection,
    registry: &Registry,
) -> Result<Option<Arc<Flags>>, FlagErrors> {
    Ok(with_registry(section, registry)?.all)
}

/// A flag of the registry as a file of its own, in which it begins on the second line.
fn source_of(entry: &Entry) -> Result<Source, FlagErrors> {
    // One definition, and nothing behind it that would be another flag.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&entry.text) {
        return Err(FlagErrors(vec![FlagProblem {
            line: error.line(),
            column: error.column(),
            ..FlagProblem::whole(&entry.place(), format!("this is no JSON: {error}"))
        }]));
    }
    let key = serde_json::Value::from(&*entry.name);
    Ok(Source {
        name: entry.place(),
        text: format!("{{\"flags\":{{{key}:\n{}\n}}}}", entry.text),
    })
}

/// The problems of entries with the lines that they have themselves.
fn as_written(FlagErrors(mut problems): FlagErrors, registry: &Registry) -> FlagErrors {
    let places: Vec<String> = registry.of(Kind::Flag).map(Entry::place).collect();
    for problem in &mut problems {
        if places.contains(&problem.file) {
            problem.line = problem.line.saturating_sub(1);
        }
    }
    FlagErrors(problems)
}

/// Reads files, and the files of definitions in folders.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Flags, FlagErrors> {
    Flags::read(&sources(paths)?)
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, FlagErrors> {
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
            match source(&file) {
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
        Err(FlagErrors(problems))
    }
}

/// The switches of servers that a configuration does not have, in words: one of them may be
/// misspelt, and then nothing is switched off by it.
pub(crate) fn odd_about_switches(flags: &Flags, config: &Config) -> Option<String> {
    let switches = Switches::of(flags)?;
    let is_known = |name: &&str| config.servers.iter().any(|server| server.name == **name);
    let mut unknown: Vec<&str> = switches.servers().filter(|name| !is_known(name)).collect();
    unknown.sort_unstable();
    (!unknown.is_empty()).then(|| {
        let names = unknown.join(", ");
        format!("kill switches are for servers that are not configured: {names}")
    })
}

/// Says in the log what is odd about the switches.
pub(super) fn tell_of_switches(flags: Option<&Flags>, config: &Config) {
    if let Some(odd) = flags.and_then(|flags| odd_about_switches(flags, config)) {
        tracing::warn!("{odd}");
    }
}

/// Whether a file is one of definitions, by its name.
pub(super) fn is_ours(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden
        && file
            .extension()
            .is_some_and(|extension| extension == "json")
}

fn files(path: &Path) -> Result<Vec<PathBuf>, FlagProblem> {
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
        return Err(problem(path, "there is no .json file in this folder"));
    }
    Ok(files)
}

fn source(path: &Path) -> Result<Source, FlagProblem> {
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

fn problem(path: &Path, message: &str) -> FlagProblem {
    FlagProblem::whole(&path.display().to_string(), message)
}
