//! `mcp-ultra connect`, on files of its own.

use std::fs;

use serde_json::{Value, json};

use crate::cli::{Run, command, finish};

const TARGET: &str = "http://127.0.0.1:9999/mcp";

/// Runs in `folder`, which is home and working folder at once.
async fn connect(folder: &std::path::Path, arguments: &[&str]) -> Run {
    let mut command = command(&[&["connect"], arguments, &["--target", TARGET]].concat());
    command.current_dir(folder).env("HOME", folder);
    finish(command).await
}

#[tokio::test]
async fn each_client_is_told_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    for (client, words) in [
        (
            "claude-code",
            &[
                "claude mcp add --transport http mcp-ultra http://127.0.0.1:9999/mcp",
                ".mcp.json",
            ][..],
        ),
        (
            "claude-desktop",
            &["claude_desktop_config.json", "\"stdio\"", "\"command\""],
        ),
        (
            "vscode",
            &["code --add-mcp", ".vscode/mcp.json", "\"servers\""],
        ),
        ("cursor", &[".cursor/mcp.json", "\"mcpServers\""]),
        (
            "inspector",
            &["npx @modelcontextprotocol/inspector --cli http://127.0.0.1:9999/mcp"],
        ),
    ] {
        let run = connect(folder.path(), &[client]).await;
        assert_eq!(run.code, 0, "{}", run.err);
        for word in words {
            assert!(run.out.contains(word), "{client} lacks {word}: {}", run.out);
        }
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[tokio::test]
async fn each_client_is_written_where_it_looks() {
    let folder = tempfile::tempdir().unwrap();
    for (client, path, key) in [
        ("claude-code", ".mcp.json", "mcpServers"),
        (
            "claude-desktop",
            ".config/Claude/claude_desktop_config.json",
            "mcpServers",
        ),
        ("vscode", ".vscode/mcp.json", "servers"),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("inspector", "mcp.json", "mcpServers"),
    ] {
        let run = connect(folder.path(), &[client, "--write", "--name", "portal"]).await;
        assert_eq!(run.code, 0, "{}", run.err);
        let text = fs::read_to_string(folder.path().join(path)).unwrap();
        let tree: Value = serde_json::from_str(&text).unwrap();
        let entry = &tree[key]["portal"];
        if client == "claude-desktop" {
            assert_eq!(entry["args"], json!(["stdio", "--target", TARGET]));
        } else {
            assert_eq!(entry["url"], TARGET, "{text}");
        }
        let again = connect(folder.path(), &[client, "--write", "--name", "portal"]).await;
        assert!(again.out.contains("has it already"), "{}", again.out);
    }
}

#[tokio::test]
async fn what_others_wrote_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.json");
    let before = "{\n\t// my servers\n\t\"servers\": {\n\t\t\"git\": { \"command\": \"git-mcp\" } /* stays */\n\t}\n}\n";
    fs::write(&path, before).unwrap();
    let run = connect(folder.path(), &["vscode", "--write", "--config", "my.json"]).await;
    assert_eq!(run.code, 0, "{}", run.err);
    let after = fs::read_to_string(&path).unwrap();
    for kept in [
        "// my servers",
        "\"git\": { \"command\": \"git-mcp\" }",
        "/* stays */",
    ] {
        assert!(after.contains(kept), "{after}");
    }
    assert!(
        after.contains("\"mcp-ultra\"") && after.contains(TARGET),
        "{after}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_understood_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".mcp.json");
    for before in ["{ \"mcpServers\": ", "[]", "{\"mcpServers\": 7}"] {
        fs::write(&path, before).unwrap();
        let run = connect(folder.path(), &["claude-code", "--write"]).await;
        assert_eq!(run.code, 1);
        assert!(run.err.contains("left as it is"), "{}", run.err);
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
    let run = connect(folder.path(), &["claude-code", "--name", "a b"]).await;
    assert_eq!(run.code, 2);
}
