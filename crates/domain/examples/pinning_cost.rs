//! What it costs to compare 10,000 tools with their pins, each time that the lists of a server are
//! read: first sight, and again.
//!
//! ```sh
//! cargo run --release -p mcp-ultra-domain --example pinning_cost
//! ```

use std::{hint::black_box, time::Instant};

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::{pinning::fingerprint, scan};

const TOOLS: usize = 10_000;

fn main() {
    let tools: Vec<(String, String)> = (0..TOOLS).map(tool).collect();
    let bytes: usize = tools.iter().map(|(_, text)| text.len()).sum();
    println!("{TOOLS} tools of {} bytes each", bytes / TOOLS);
    let names: Vec<&str> = tools.iter().map(|(name, _)| &**name).collect();
    for _ in 0..3 {
        time("fingerprints", || {
            for (_, text) in &tools {
                black_box(fingerprint(text));
            }
        });
        time("scan", || {
            for (_, text) in &tools {
                black_box(scan::definition(text));
            }
        });
        time("names that look alike", || {
            black_box(scan::look_alikes(&names));
        });
        time("again: the digest of the same text", || {
            for (_, text) in &tools {
                black_box(digest(&SHA256, text.as_bytes()));
            }
        });
    }
}

fn tool(number: usize) -> (String, String) {
    let name = format!("find_customer_{number}");
    let text = format!(
        r#"{{"name":"{name}","title":"Find a customer","description":"Finds a customer of the shop number {number} by name, e-mail address or order, and returns what is known of it. Give at least one of the arguments.","inputSchema":{{"type":"object","properties":{{"name":{{"type":"string","description":"The name, or how it begins"}},"email":{{"type":"string","format":"email","description":"The e-mail address"}},"order":{{"type":"integer","minimum":1,"description":"The number of an order"}},"limit":{{"type":"integer","minimum":1,"maximum":100,"default":10}}}},"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#
    );
    (name, text)
}

fn time(what: &str, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    println!("{what}: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
}
