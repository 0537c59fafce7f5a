//! What clients write as `${…}`, in our words.

use super::Import;

/// Replaces the placeholders of clients by ours. `place` says where the text stands, such as
/// `env API_KEY`.
pub(super) fn translate(text: &str, server: &str, place: &str, import: &mut Import) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        if before.ends_with('$') {
            import.note(format!(
                "{server}: {place}: `$${{` stands for the characters `${{` here; check this value"
            ));
        }
        let Some(end) = after.find('}') else {
            // Not a placeholder, so the characters themselves are meant.
            out.push_str(&after.replace("${", "$${"));
            return out;
        };
        out.push_str(&one(&after[2..end], server, place, import));
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out
}

fn one(placeholder: &str, server: &str, place: &str, import: &mut Import) -> String {
    match placeholder {
        "userHome" => return "${HOME}".into(),
        "workspaceFolder" | "workspaceRoot" | "cwd" => {
            import.note(format!(
                "{server}: {place}: ${{{placeholder}}} became `.`, the folder the gateway runs in"
            ));
            return ".".into();
        }
        "pathSeparator" | "/" => return "/".into(),
        _ => {}
    }
    let source = format!("{server}: {place}: ${{{placeholder}}}");
    if let Some((name, fallback)) = placeholder.split_once(":-")
        && is_variable(name)
    {
        return format!("${{{name}:-{fallback}}}");
    }
    let (kind, name) = placeholder.split_once(':').unwrap_or(("", placeholder));
    match kind {
        "" | "env" if is_variable(name) => {
            // The client took it from its environment; now the gateway does.
            let known = import
                .variables
                .iter()
                .any(|variable| variable.name == name);
            if !known {
                import.variables.push(super::Variable {
                    name: name.to_owned(),
                    source,
                });
            }
            format!("${{{name}}}")
        }
        // One input is one value, whichever server asks for it.
        "input" => import.variable(server, name, Some(placeholder), source),
        _ => import.variable(server, placeholder, Some(placeholder), source),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
