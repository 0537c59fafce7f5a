//! The MCP Ultra binary.

mod demo;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return std::process::ExitCode::FAILURE;
    };
    let served = match arguments[..] {
        ["demo-server"] => runtime.block_on(demo::serve_stdio()),
        ["demo-server", "--http", address] => match address.parse() {
            Ok(address) => runtime.block_on(demo::serve_http(address)),
            Err(_) => return std::process::ExitCode::from(2),
        },
        _ => return std::process::ExitCode::from(2),
    };
    match served {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp-ultra demo-server: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
