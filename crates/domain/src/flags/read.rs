use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use aws_lc_rs::digest;
use jiff::civil::Date;
use mcp_ultra_protocol::json::{self, Object};
use serde_json::{Map, Value as Json};

use super::{
    Feature, Flag, FlagErrors, FlagProblem, FlagValue, Flags, Switches,
    logic::{Fault, Parser},
};

/// The most flags of all texts together: their keys are labels of metrics.
const MOST: usize = 10_000;

/// The longest key, in bytes.
const LONGEST: usize = 256;

/// A text of definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, or whatever it is from, as messages name it.
    pub name: String,
    /// Its text: flagd's JSON.
    pub text: String,
}

impl Flags {
    /// Reads and checks definitions. Flags of all texts are one set, and their keys are unique.
    ///
    /// # Errors
    /// [`FlagErrors`]: everything that is wrong, each with its file, line and place in the JSON.
    pub fn read(sources: &[Source]) -> Result<Self, FlagErrors> {
        let mut flags: BTreeMap<Arc<str>, Arc<Flag>> = BTreeMap::new();
        let mut problems = Vec::new();
        for source in sources {
            let (read, wrong) = Text::read(source);
            problems.extend(wrong);
            for flag in read {
                if let Some(other) = flags.get(&flag.key) {
                    let (file, line) = other.place();
                    let message = format!(
                        "the flag \"{}\" is there already, in {file}:{line}",
                        flag.key
                    );
                    problems.push(FlagProblem {
                        line: flag.line,
                        column: 1,
                        ..FlagProblem::whole(&source.name, message)
                    });
                    continue;
                }
                flags.insert(flag.key.clone(), Arc::new(flag));
            }
        }
        if flags.len() > MOST {
            let message = format!("there are {} flags, more than {MOST}", flags.len());
            problems.push(FlagProblem::whole("flags.files", message));
        }
        if problems.is_empty() {
            let revision = revision(sources);
            return Ok(Self { flags, revision });
        }
        problems.dedup();
        Err(FlagErrors(problems))
    }
}

/// One text in the reading.
struct Text<'t> {
    source: &'t Source,
    file: Arc<str>,
    /// What holds for all flags of the text.
    metadata: Map<String, Json>,
    shared: &'t BTreeMap<String, &'t str>,
}

type Read<T> = Result<T, Fault>;

/// The members of an object, as text.
type Members<'t> = Vec<(String, &'t str)>;

impl<'t> Text<'t> {
    fn read(source: &'t Source) -> (Vec<Flag>, Vec<FlagProblem>) {
        let text = &source.text;
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            let problem = FlagProblem {
                line: error.line(),
                column: error.column(),
                ..FlagProblem::whole(&source.name, format!("this is no JSON: {error}"))
            };
            return (Vec::new(), vec![problem]);
        }
        let shared = match shared(text) {
            Ok(shared) => shared,
            Err(fault) => return (Vec::new(), vec![problem(source, fault)]),
        };
        let mut problems = Vec::new();
        for (name, rule) in &shared {
            let mut parser = Parser::new(text, &shared, &["$evaluators", name]).of_shared();
            if let Err(fault) = parser.rule(rule) {
                problems.push(problem(source, fault));
            }
        }
        let file = Arc::from(&*source.name);
        let flags = match members(text) {
            Err(fault) => {
                problems.push(problem(source, fault));
                return (Vec::new(), problems);
            }
            Ok((metadata, flags)) => {
                let text = Text {
                    source,
                    file,
                    metadata,
                    shared: &shared,
                };
                flags
                    .into_iter()
                    .map(|(key, raw)| text.flag(&key, raw))
                    .collect::<Vec<_>>()
            }
        };
        let mut read = Vec::new();
        for flag in flags {
            match flag {
                Ok(flag) => read.push(flag),
                Err(fault) => problems.push(problem(source, fault)),
            }
        }
        (read, problems)
    }

    fn flag(&self, key: &str, raw: &'t str) -> Read<Flag> {
        let at = Place::new(&self.source.text, &["flags", key]);
        if key.is_empty() || key.len() > LONGEST || key.chars().any(char::is_control) {
            let message = format!("a key has 1 to {LONGEST} bytes and no control characters");
            return Err(at.fault(raw, message));
        }
        let object = Object::parse(raw).map_err(|error| at.fault(raw, error.to_string()))?;
        let known = [
            "state",
            "variants",
            "defaultVariant",
            "targeting",
            "metadata",
        ];
        if let Some(other) = object
            .members()
            .iter()
            .find(|member| !known.contains(&&*member.key))
        {
            let at = Place::new(&self.source.text, &["flags", key, &other.key]);
            let message = format!("there is nothing called \"{}\" in a flag", other.key);
            return Err(at.help(
                other.value,
                message,
                &format!("it has {}", known.join(", ")),
            ));
        }
        let enabled = self.state(&object, key)?;
        let variants = self.variants(&object, key)?;
        let default = self.default(&object, key, &variants)?;
        let (metadata, owner, expires) = self.metadata(&object, key)?;
        let mut flag = Flag {
            values: variants[default].1.flag_type(),
            key: key.into(),
            enabled,
            variants,
            default,
            targeting: None,
            depends: super::Depends::default(),
            unknown: Vec::new(),
            owner,
            expires,
            metadata,
            file: self.file.clone(),
            line: crate::policy::position(&self.source.text, at.fault(raw, "").offset).0,
        };
        self.targeting(&object, &mut flag)?;
        match Switches::fault(&flag).or_else(|| Feature::fault(&flag)) {
            Some(message) => Err(at.fault(raw, message)),
            None => Ok(flag),
        }
    }

    fn place(&self, key: &str, member: &str) -> Place<'t> {
        Place::new(&self.source.text, &["flags", key, member])
    }

    fn state(&self, object: &Object<'t>, key: &str) -> Read<bool> {
        match object.get_str("state").as_deref() {
            Some("ENABLED") => Ok(true),
            Some("DISABLED") => Ok(false),
            _ => {
                let raw = object.get("state").unwrap_or(object.text());
                let message = "the state must be ENABLED or DISABLED";
                Err(self.place(key, "state").fault(raw, message))
            }
        }
    }

    fn variants(&self, object: &Object<'t>, key: &str) -> Read<Vec<(Box<str>, FlagValue)>> {
        let at = self.place(key, "variants");
        let raw = object.get("variants").unwrap_or(object.text());
        let written = match object.get_object("variants") {
            Ok(Some(variants)) if !variants.members().is_empty() => variants,
            Ok(_) => return Err(at.fault(raw, "there are no variants")),
            Err(error) => return Err(at.fault(raw, error.to_string())),
        };
        let mut variants: Vec<(Box<str>, FlagValue)> = Vec::new();
        for member in written.members() {
            let value = serde_json::from_str(member.value)
                .ok()
                .and_then(FlagValue::of);
            let Some(value) = value else {
                let message = format!(
                    "the variant \"{}\" is no boolean, string, number or object",
                    member.key
                );
                return Err(at.fault(member.value, message));
            };
            if let Some((first, other)) = variants.first()
                && other.flag_type() != value.flag_type()
            {
                let message = format!(
                    "the variant \"{}\" is a {}, and \"{first}\" a {}: all must be of one type",
                    member.key,
                    value.flag_type().as_str(),
                    other.flag_type().as_str()
                );
                return Err(at.fault(member.value, message));
            }
            variants.push((member.key.as_ref().into(), value));
        }
        Ok(variants)
    }

    fn default(
        &self,
        object: &Object<'t>,
        key: &str,
        variants: &[(Box<str>, FlagValue)],
    ) -> Read<usize> {
        let at = self.place(key, "defaultVariant");
        let Some(raw) = object.get("defaultVariant").filter(|raw| *raw != "null") else {
            let message =
                "there is no default: which variant has everybody for whom no rule says otherwise?";
            return Err(at.help(object.text(), message, "name one of the variants"));
        };
        let name = json::as_str(raw);
        let found = name.as_deref().and_then(|name| {
            let mut names = variants.iter();
            names.position(|(variant, _)| **variant == *name)
        });
        found.ok_or_else(|| at.help(raw, "this is no variant of the flag", &names(variants)))
    }

    /// The metadata of the flag above that of its file, and what of it must be there.
    fn metadata(&self, object: &Object<'t>, key: &str) -> Read<(Map<String, Json>, String, Date)> {
        let at = self.place(key, "metadata");
        let raw = object.get("metadata").unwrap_or(object.text());
        let mut metadata = self.metadata.clone();
        metadata.extend(match object.get("metadata") {
            None => Map::new(),
            Some(raw) => as_map(raw).ok_or_else(|| at.fault(raw, "metadata is an object"))?,
        });
        let text = |name: &str| metadata.get(name).and_then(Json::as_str).map(str::trim);
        let Some(owner) = text("owner").filter(|owner| !owner.is_empty()) else {
            let message = "it has no owner: who answers for the flag, and takes it away again?";
            return Err(at.help(
                raw,
                message,
                "write metadata.owner, such as \"payments team\"",
            ));
        };
        let expires = text("expires").and_then(|text| text.parse::<Date>().ok());
        let Some(expires) = expires else {
            let message = "it has no expiry: until when is the flag needed?";
            return Err(at.help(
                raw,
                message,
                "write metadata.expires, a date such as \"2027-06-30\"",
            ));
        };
        let owner = owner.to_owned();
        Ok((metadata, owner, expires))
    }

    fn targeting(&self, object: &Object<'t>, flag: &mut Flag) -> Read<()> {
        let Some(raw) = object.get("targeting").filter(|raw| *raw != "null") else {
            return Ok(());
        };
        let key = flag.key.clone();
        let at = self.place(&key, "targeting");
        let rule = Object::parse(raw)
            .map_err(|error| at.fault(raw, format!("targeting is an object: {error}")))?;
        if rule.members().is_empty() {
            return Ok(());
        }
        let path = ["flags", &key, "targeting"];
        let mut parser = Parser::new(&self.source.text, self.shared, &path);
        let rule = parser.rule(raw)?;
        let mut wrong = None;
        rule.results(&mut |name| {
            if !flag.variants.iter().any(|(variant, _)| **variant == *name) {
                wrong.get_or_insert(name.to_owned());
            }
        });
        if let Some(wrong) = wrong {
            let message = format!("the rules choose \"{wrong}\", which is no variant of the flag");
            return Err(at.help(raw, message, &names(&flag.variants)));
        }
        flag.depends = parser.depends;
        flag.unknown = parser.unknown.into_iter().collect();
        flag.targeting = Some(rule);
        Ok(())
    }
}

/// A place in the text.
struct Place<'t> {
    text: &'t str,
    path: Vec<String>,
}

impl<'t> Place<'t> {
    fn new(text: &'t str, path: &[&str]) -> Self {
        let path = path.iter().map(|&step| step.to_owned()).collect();
        Self { text, path }
    }

    fn fault(&self, raw: &str, message: impl Into<String>) -> Fault {
        let nothing = BTreeMap::new();
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        Parser::new(self.text, &nothing, &path).fault(raw, message)
    }

    fn help(&self, raw: &str, message: impl Into<String>, help: &str) -> Fault {
        Fault {
            help: Some(help.to_owned()),
            ..self.fault(raw, message)
        }
    }
}

/// The members of the whole: its metadata, and its flags by key.
fn members(text: &str) -> Read<(Map<String, Json>, Members<'_>)> {
    let whole = Place::new(text, &[]);
    let object = Object::parse(text).map_err(|error| whole.fault(text, error.to_string()))?;
    let known = ["$schema", "flags", "$evaluators", "metadata"];
    if let Some(other) = object
        .members()
        .iter()
        .find(|member| !known.contains(&&*member.key))
    {
        let message = format!("there is nothing called \"{}\" beside the flags", other.key);
        let help = format!("there is {}", known.join(", "));
        return Err(Place::new(text, &[&other.key]).help(other.value, message, &help));
    }
    let at = Place::new(text, &["metadata"]);
    let metadata = match object.get("metadata") {
        None => Map::new(),
        Some(raw) => as_map(raw).ok_or_else(|| at.fault(raw, "metadata is an object"))?,
    };
    let at = Place::new(text, &["flags"]);
    let Some(raw) = object.get("flags") else {
        return Err(whole.help(object.text(), "there are no flags", "write \"flags\": {}"));
    };
    let flags = Object::parse(raw).map_err(|error| at.fault(raw, error.to_string()))?;
    let flags = flags.into_members().into_iter();
    let flags = flags.map(|member| (member.key.into_owned(), member.value));
    Ok((metadata, flags.collect()))
}

/// The rules of `$evaluators`, by name.
fn shared(text: &str) -> Read<BTreeMap<String, &str>> {
    let at = Place::new(text, &["$evaluators"]);
    let object = Object::parse(text).map_err(|error| at.fault(text, error.to_string()))?;
    let Some(raw) = object.get("$evaluators") else {
        return Ok(BTreeMap::new());
    };
    let rules = Object::parse(raw).map_err(|error| at.fault(raw, error.to_string()))?;
    let rules = rules.into_members().into_iter();
    Ok(rules
        .map(|member| (member.key.into_owned(), member.value))
        .collect())
}

fn as_map(raw: &str) -> Option<Map<String, Json>> {
    serde_json::from_str(raw).ok()
}

fn names(variants: &[(Box<str>, FlagValue)]) -> String {
    let names: BTreeSet<&str> = variants.iter().map(|(name, _)| &**name).collect();
    let names: Vec<&str> = names.into_iter().collect();
    format!("it has {}", names.join(", "))
}

fn problem(source: &Source, fault: Fault) -> FlagProblem {
    let Fault {
        offset,
        pointer,
        message,
        help,
    } = fault;
    FlagProblem {
        pointer,
        help,
        ..FlagProblem::at(&source.name, &source.text, offset, message)
    }
}

fn revision(sources: &[Source]) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    for source in sources {
        context.update(&source.text.len().to_be_bytes());
        context.update(source.text.as_bytes());
    }
    let hash = context.finish();
    let mut text = String::with_capacity(64);
    for byte in hash.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}
