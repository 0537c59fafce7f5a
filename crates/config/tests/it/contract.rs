//! The smallest useful file, whose keys are a promise.

use mcp_ultra_config::{Prefix, Text, Transport, load_str};

const SMALLEST: &str = r#"server: { port: 8080 }
servers:
  - name: files                       # public names: files_read_file, …
    command: npx
    args: ["-y", "@modelcontextprotocol/server-filesystem", "./data"]
  - name: crm
    url: https://crm.example.com/mcp
    prefix: none                      # identity names
"#;

#[test]
fn the_smallest_useful_file_loads_as_given() {
    let loaded = load_str(SMALLEST, "mcp-ultra.yaml").expect("the file of the contract");
    assert!(loaded.warnings.is_empty());
    let config = loaded.config;
    assert_eq!(config.server.port, 8080);
    let [files, crm] = config.servers.as_slice() else {
        panic!("two servers")
    };
    assert_eq!(files.effective_prefix(), Some("files"));
    let Some(Transport::Stdio {
        command,
        args,
        env,
        cwd,
    }) = files.transport()
    else {
        panic!("files is a program")
    };
    let args: Vec<&str> = args.iter().map(Text::as_str).collect();
    assert_eq!(command, "npx");
    assert_eq!(
        args,
        ["-y", "@modelcontextprotocol/server-filesystem", "./data"]
    );
    assert!(env.is_empty() && cwd.is_none());
    assert_eq!(crm.prefix, Prefix::None);
    assert_eq!(crm.effective_prefix(), None);
    let Some(Transport::Http { url, headers }) = crm.transport() else {
        panic!("crm is an address")
    };
    assert_eq!(url.url().as_str(), "https://crm.example.com/mcp");
    assert!(headers.is_empty());
}

#[test]
fn the_same_as_json_loads_the_same() {
    let json = r#"{"server":{"port":8080},"servers":[
        {"name":"files","command":"npx",
         "args":["-y","@modelcontextprotocol/server-filesystem","./data"]},
        {"name":"crm","url":"https://crm.example.com/mcp","prefix":"none"}]}"#;
    let yaml = load_str(SMALLEST, "a.yaml").expect("yaml");
    assert_eq!(load_str(json, "a.json").expect("json").config, yaml.config);
}

#[test]
fn nothing_at_all_is_a_working_configuration() {
    let default = mcp_ultra_config::Config::default();
    for text in [
        "",
        "# only a comment\n",
        "---\n",
        "server:\nservers:\n",
        "{}",
    ] {
        assert_eq!(
            load_str(text, "empty.yaml").expect(text).config,
            default,
            "{text:?}"
        );
    }
}
