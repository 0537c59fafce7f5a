use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;

use super::{Fingerprint, Standing};

/// The pins of a lock file: server, tool under the server's own name, fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// The pins, by server and tool.
    pub servers: BTreeMap<String, BTreeMap<String, Fingerprint>>,
}

/// What differs between two lock files, for one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockChange {
    /// The server.
    pub server: String,
    /// The server's own name of the tool.
    pub tool: String,
    /// The pin before; `None` where there was none.
    pub before: Option<Fingerprint>,
    /// The pin after.
    pub after: Option<Fingerprint>,
}

impl LockFile {
    /// The pin of a tool.
    pub fn pin(&self, server: &str, tool: &str) -> Option<Fingerprint> {
        self.servers.get(server)?.get(tool).copied()
    }

    /// What a definition is that a server offers. A server that is not in the file has no tools
    /// that anybody agreed to.
    pub fn standing(&self, server: &str, tool: &str, seen: Fingerprint) -> Standing {
        Standing::by_lock(seen, self.pin(server, tool))
    }

    /// What differs in `new`, in the order of servers and tools.
    pub fn changes(&self, new: &Self) -> Vec<LockChange> {
        let all = |file: &Self| -> BTreeMap<(String, String), Fingerprint> {
            let servers = file.servers.iter();
            servers
                .flat_map(|(server, tools)| {
                    let tools = tools.iter();
                    tools.map(move |(tool, print)| ((server.clone(), tool.clone()), *print))
                })
                .collect()
        };
        let (before, after) = (all(self), all(new));
        let mut changes: BTreeMap<_, _> = before
            .into_iter()
            .map(|(key, print)| (key, (Some(print), None)))
            .collect();
        for (key, print) in after {
            changes.entry(key).or_insert((None, None)).1 = Some(print);
        }
        changes
            .into_iter()
            .filter(|(_, (before, after))| before != after)
            .map(|((server, tool), (before, after))| LockChange {
                server,
                tool,
                before,
                after,
            })
            .collect()
    }

    /// The text of the file: YAML, sorted, a tool a line.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Tools that were agreed to, by the SHA-256 of their definitions.\n# Written by `mcp-ultra tools lock`.\n",
        );
        if self.servers.is_empty() {
            text.push_str("servers: {}\n");
            return text;
        }
        text.push_str("servers:\n");
        for (server, tools) in &self.servers {
            let none = if tools.is_empty() { " {}" } else { "" };
            // Writing into a string does not fail.
            let _ = writeln!(text, "  {}:{none}", quoted(server));
            for (tool, fingerprint) in tools {
                let _ = writeln!(text, "    {}: {fingerprint}", quoted(tool));
            }
        }
        text
    }
}

/// A key of YAML (1.2, 7.3.1). All that is not ASCII is escaped: names are the servers' own, and
/// whoever reads the file is to see what is in them.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            c => {
                // Writing into a string does not fail.
                let _ = write!(text, "\\U{:08X}", u32::from(c));
            }
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::{super::fingerprint, *};

    fn file(pins: &[(&str, &str, &str)]) -> LockFile {
        let mut file = LockFile::default();
        for (server, tool, definition) in pins {
            let tools = file.servers.entry((*server).into()).or_default();
            tools.insert((*tool).into(), fingerprint(definition));
        }
        file
    }

    #[test]
    fn what_is_not_in_the_file_is_unknown() {
        let file = file(&[("crm", "find", "1")]);
        let seen = fingerprint("1");
        for (server, tool, print, expected) in [
            ("crm", "find", seen, Standing::Approved),
            ("crm", "find", fingerprint("2"), Standing::Changed),
            ("crm", "send", seen, Standing::Unknown),
            ("mail", "find", seen, Standing::Unknown),
        ] {
            assert_eq!(file.standing(server, tool, print), expected);
        }
    }

    #[test]
    fn changes_are_named_in_order() {
        let old = file(&[("b", "x", "1"), ("a", "y", "1"), ("a", "z", "1")]);
        let new = file(&[("b", "x", "1"), ("a", "y", "2"), ("c", "n", "1")]);
        let found: Vec<_> = old
            .changes(&new)
            .into_iter()
            .map(|one| {
                (
                    one.server,
                    one.tool,
                    one.before.is_some(),
                    one.after.is_some(),
                )
            })
            .collect();
        let expected = [
            ("a".into(), "y".into(), true, true),
            ("a".into(), "z".into(), true, false),
            ("c".into(), "n".into(), false, true),
        ];
        assert_eq!(found, expected);
        assert_eq!(old.changes(&old), []);
    }

    #[test]
    fn its_text_is_sorted_and_does_not_depend_on_the_order() {
        let one = file(&[
            ("b", "x", "1"),
            ("a", "n", "1"),
            ("a", "it's: \"é\"\u{202E}", "1"),
        ]);
        let other = file(&[
            ("a", "it's: \"é\"\u{202E}", "1"),
            ("a", "n", "1"),
            ("b", "x", "1"),
        ]);
        assert_eq!(one.text(), other.text());
        let text = one.text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "servers:");
        assert_eq!(lines[1], "  \"a\":");
        assert!(
            lines[2].starts_with("    \"it's: \\\"\\U000000E9\\\"\\U0000202E\": sha256:"),
            "{text}"
        );
        assert!(lines[3].starts_with("    \"n\": sha256:") && lines[4] == "  \"b\":");
        assert!(LockFile::default().text().ends_with("servers: {}\n"));
    }
}
