//! The documents are true to the binary: the reference of its commands, the metrics that it
//! serves, the examples of the READMEs, and the files that are spoken of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_ultra_testkit::{
    raw::{Client, modern::Caller},
    stores::Redis,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Child,
};

use super::cli::{command, run};
use crate::gateway_redis::sections;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The commands of `help`, in its order.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Long descriptions go on in the column of the first line.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

async fn command_reference() -> String {
    let mut text = String::from(
        "# Commands\n\nWhat `mcp-ultra … --help` prints, kept up to date by a test \
         (`UPDATE_REFERENCE=1 cargo test -p mcp-ultra --test it reference`).\n",
    );
    let mut waiting = vec![Vec::<String>::new()];
    while let Some(path) = waiting.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = run(&arguments).await;
        assert_eq!(help.code, 0, "{path:?}: {}", help.err);
        let name = [&["mcp-ultra".to_owned()], &path[..]].concat().join(" ");
        let lines: Vec<&str> = help.out.lines().map(str::trim_end).collect();
        let body = lines.join("\n");
        write!(text, "\n## {name}\n\n```text\n{}\n```\n", body.trim_end()).unwrap();
        let below = subcommands(&help.out).into_iter().rev();
        waiting.extend(below.map(|name| [&path[..], &[name]].concat()));
    }
    text
}

#[tokio::test]
async fn the_command_reference_is_up_to_date() {
    let path = "docs/reference/cli.md";
    let fresh = command_reference().await;
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(root().join(path), &fresh).unwrap();
    }
    assert!(
        fresh.contains("## mcp-ultra config validate\n"),
        "commands below commands are found"
    );
    assert!(
        read(path) == fresh,
        "{path} is out of date: run the tests with UPDATE_REFERENCE=1"
    );
}

/// A kill switch that should be gone: metrics have series of it.
const FLAGS: &str = r#"{"flags": {"tool.demo_add_note.enabled": {
  "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
  "metadata": {"owner": "ops", "expires": "2020-01-01"}}}}"#;

/// A gateway with the demo server behind it, and with a Redis, whose breaker has a series.
struct Serving {
    process: Child,
    endpoint: String,
    _redis: Redis,
    _folder: tempfile::TempDir,
}

impl Serving {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mcp-ultra.yaml");
        let flags = folder.path().join("flags.json");
        fs::write(&flags, FLAGS).unwrap();
        let flags = flags.display();
        let program = env!("CARGO_BIN_EXE_mcp-ultra");
        let redis = Redis::start().await.unwrap();
        let text = format!(
            "server: {{ port: 0 }}\nflags: {{ files: ['{flags}'] }}\nservers:\n  - name: demo\n    command: {program}\n    args: [demo-server]\n    env: {{ DEMO_KEY: '${{secret:demo}}' }}\n  - name: gone\n    url: http://127.0.0.1:1/mcp\n    credentials: {{ kind: client_credentials, token_endpoint: http://127.0.0.1:1/token, client_id: a, client_secret: '${{secret:demo}}' }}\n"
        );
        fs::write(&file, text + &sections(&redis)).unwrap();
        let mut process = command(&["serve", "--config", &file.to_string_lossy()])
            .env("MCP_ULTRA_SECRET_DEMO", "not-a-secret")
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let endpoint = tokio::time::timeout(Duration::from_secs(20), async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                if let Some(endpoint) = line["endpoint"].as_str() {
                    return endpoint.to_owned();
                }
            }
            panic!("the gateway ended before it listened");
        });
        let endpoint = endpoint.await.expect("the gateway listens");
        // The log goes on; a full pipe would stop the gateway.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let gateway = Self {
            process,
            endpoint,
            _redis: redis,
            _folder: folder,
        };
        for _ in 0..200 {
            if gateway.get("/readyz").await.starts_with("HTTP/1.1 200") {
                return gateway;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway did not become ready");
    }

    async fn get(&self, path: &str) -> String {
        let address = self.endpoint.trim_start_matches("http://");
        let address = address.trim_end_matches("/mcp");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Kind and labels of every family, by name.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

fn served(text: &str) -> Families {
    let mut families = Families::new();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in kinds.filter_map(|rest| rest.split_once(' ')) {
        families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, rest)) = line.split_once('{') else {
            continue;
        };
        let ends = ["", "_bucket", "_sum", "_count"];
        let family = ends
            .iter()
            .filter_map(|end| sample.strip_suffix(end))
            .find(|name| families.contains_key(*name));
        let labels = rest.split(['{', ',', '}']);
        let keys = labels.filter_map(|label| label.split_once("=\"").map(|(key, _)| key));
        if let Some((_, known)) = family.and_then(|name| families.get_mut(name)) {
            known.extend(keys.filter(|key| *key != "le").map(str::to_owned));
        }
    }
    families
}

/// The rows of the tables: name, kind, labels, meaning.
fn documented(page: &str) -> Families {
    let quoted = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, kind, labels, ..] = cells[..] else {
                return None;
            };
            let known = ["counter", "gauge", "histogram"].contains(&kind);
            known.then(|| {
                let name = name.trim_matches('`').to_owned();
                (name, (kind.to_owned(), quoted(labels)))
            })
        })
        .collect()
}

#[tokio::test]
async fn the_metrics_page_names_what_is_served() {
    let mut gateway = Serving::start().await;
    let target = gateway.endpoint.clone();
    let arguments = ["--arg", "text=hello", "--target", &target];
    let call = [&["tools", "call", "demo_echo"][..], &arguments].concat();
    let call = run(&call).await;
    assert_eq!(call.code, 0, "{}", call.err);
    let refused = Caller::new(Client::new(&target))
        .call("tools/call", serde_json::json!({ "name": "demo_add_note" }))
        .await;
    assert_eq!(refused.unwrap().error_code(), Some(-32602));
    let served = served(&gateway.get("/metrics").await);
    assert!(served.contains_key("mcp_requests_total"), "{served:?}");
    assert_eq!(documented(&read("docs/reference/metrics.md")), served);
    gateway.process.kill().await.unwrap();
}

/// The contents of the fenced blocks of one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    page.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(block, _)| block.to_owned()))
        .collect()
}

/// Without comments, and without words that a reader of another language would translate.
fn bare(block: &str) -> String {
    let lines = block.lines().map(|line| match line.split_once(" #") {
        Some((code, _)) => code.trim_end(),
        None => line.trim_end(),
    });
    lines.collect::<Vec<_>>().join("\n").replace("olá", "hello")
}

#[tokio::test]
async fn the_readmes_have_the_same_examples_and_the_configurations_are_valid() {
    let (english, portuguese) = (read("README.md"), read("README.pt-BR.md"));
    for (language, least) in [("sh", 2), ("yaml", 2), ("ts", 1), ("python", 1)] {
        let bare_all = |page| -> Vec<String> {
            let blocks = blocks(page, language);
            blocks.iter().map(|block| bare(block)).collect()
        };
        assert!(bare_all(&english).len() >= least, "{language}");
        assert_eq!(bare_all(&english), bare_all(&portuguese));
    }
    let folder = tempfile::tempdir().unwrap();
    for block in blocks(&english, "yaml") {
        let file = folder.path().join("example.yaml");
        fs::write(&file, &block).unwrap();
        let file = file.to_string_lossy();
        let check = run(&[
            "config",
            "validate",
            "--without-secrets",
            "--without-policies",
            "--config",
            &file,
        ])
        .await;
        assert_eq!(check.code, 0, "{block}\n{}", check.err);
    }
}

#[tokio::test]
async fn the_readmes_name_every_command() {
    let help = run(&["--help"]).await;
    for (page, heading) in [
        ("README.md", "## Commands"),
        ("README.pt-BR.md", "## Comandos"),
    ] {
        let text = read(page);
        let (_, section) = text.split_once(heading).unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        for command in subcommands(&help.out) {
            let named = section.contains(&format!("`{command}`"))
                || section.contains(&format!("`{command} "));
            assert!(named, "{page} does not name {command}");
        }
    }
}

/// All files below `folder` with that ending, relative to the root.
fn files(folder: &str, ending: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn what_the_documents_link_to_exists() {
    let pages = [
        "README.md",
        "README.pt-BR.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "docs/security.md",
    ];
    let mut pages: Vec<String> = pages.map(str::to_owned).into();
    for folder in ["docs/adr", "docs/reference", "docs/runbooks"] {
        files(folder, ".md", &mut pages);
    }
    let mut links = 0;
    for page in &pages {
        for rest in read(page).split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let folder = root().join(page).parent().unwrap().to_owned();
            assert!(folder.join(target).exists(), "{page}: {target}");
        }
    }
    assert!(links > 30, "{links}");
}

#[test]
fn the_sources_that_the_architecture_names_exist() {
    let mut sources = Vec::new();
    files("crates", ".rs", &mut sources);
    let page = read("ARCHITECTURE.md");
    let named = page.split('`').skip(1).step_by(2);
    let named: Vec<&str> = named
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "rs"))
        .filter(|name| !name.contains(['<', ' ']))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        let end = format!("/{name}");
        let is_named = |source: &String| format!("/{source}").ends_with(&end);
        assert!(sources.iter().any(is_named), "{name}");
    }
}

/// Whether `source` has a test of that name: a function with an attribute that makes it one.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begins = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line);
        rest.starts_with(&function)
    };
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev();
        let mut above = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        begins(line) && above.any(|line| line.starts_with("#[test]") || line.contains("::test"))
    })
}

#[test]
fn the_tests_and_files_that_the_threat_model_names_exist() {
    let page = read("docs/security.md");
    // A picture is fenced by backticks too.
    let text: Vec<&str> = page.split("```").step_by(2).collect();
    let named = |text: &&str| -> Vec<String> {
        let spans = text.split('`').skip(1).step_by(2);
        spans.map(str::to_owned).collect()
    };
    let named: BTreeSet<String> = text.iter().flat_map(named).collect();
    let (mut tests, mut files) = (0, 0);
    for name in &named {
        if let Some((path, test)) = name.rsplit_once("::") {
            tests += 1;
            assert!(has_test(&read(path), test), "{name} is no test");
        } else if ["crates/", "docs/", "scripts/"]
            .iter()
            .any(|at| name.starts_with(at))
        {
            files += 1;
            assert!(root().join(name).is_file(), "{name} is no file");
        }
    }
    assert!(tests > 100 && files > 30, "{tests} {files}");
    let source = "#[tokio::test]\n// why\nasync fn one() {}\n\nfn two() {}\n";
    assert!(has_test(source, "one"));
    for none in ["two", "on", "three"] {
        assert!(!has_test(source, none), "{none}");
    }
}
