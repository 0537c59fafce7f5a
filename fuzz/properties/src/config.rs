//! A configuration file is loaded or refused with reasons, and what is imported from a client's
//! can be loaded.

use mcp_ultra_config::{
    MissingReferences, SourceFile, Sources, import_client_config, load, load_str,
};

/// The property.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A configuration may name files to read its secrets from. An input is not to choose them.
    if text.contains("file:") {
        return;
    }
    match load_str(text, "fuzz.yaml") {
        Ok(loaded) => {
            assert!(!loaded.explain().is_empty());
            assert!(!format!("{loaded:?}").is_empty());
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "an error says what is wrong");
            assert!(!error.to_string().is_empty() && !error.detailed().is_empty());
        }
    }
    if let Ok(imported) = import_client_config(text, None)
        && !imported.servers.is_empty()
    {
        let loaded = load(&Sources {
            file: Some(SourceFile {
                name: "imported.yaml".into(),
                text: imported.yaml.clone(),
            }),
            missing: MissingReferences::Accept,
            ..Sources::default()
        });
        assert!(loaded.is_ok(), "{:?}\n{}", loaded.err(), imported.yaml);
    }
}
