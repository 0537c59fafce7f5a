//! Bytes on a socket, for what no HTTP library would send: half requests, slow headers, forbidden
//! characters.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::RawError;

/// Connects to the host and port of `url`, which is plain HTTP.
pub async fn connect(url: &str) -> Result<TcpStream, RawError> {
    let uri: http::Uri = url.parse().map_err(http::Error::from)?;
    let host = uri.host().unwrap_or("127.0.0.1");
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends `bytes` in one piece and reads until the server closes or nothing has come for `quiet`.
pub async fn exchange(url: &str, bytes: &[u8], quiet: Duration) -> Result<Vec<u8>, RawError> {
    let mut stream = connect(url).await?;
    stream.write_all(bytes).await?;
    read_until_quiet(&mut stream, quiet).await
}

/// Reads until the server closes or nothing has come for `quiet`.
pub async fn read_until_quiet(
    stream: &mut TcpStream,
    quiet: Duration,
) -> Result<Vec<u8>, RawError> {
    let mut received = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match tokio::time::timeout(quiet, stream.read(&mut buffer)).await {
            Ok(Ok(0)) | Err(_) => return Ok(received),
            Ok(Ok(count)) => received.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}
