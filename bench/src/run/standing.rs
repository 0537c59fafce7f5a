//! What a proxy costs without calls: time to be ready, memory when idle, a large catalog, open
//! streams.

use std::{path::Path, time::Duration};

use tokio::time::sleep;

use super::{
    Effort,
    children::{Gateway, Nginx, Upstream},
    listing::{ECHOES, MANY_TOOLS, listing, wait_for_tools},
    progress,
};
use crate::{
    error::{Error, Result},
    load::{self, Plan, Wanted},
    message::{self, Address, Era},
    payload::{Form, Size},
    process::Watched,
    report::{Figure, Verdict, median},
    wire::Connection,
};

/// Upstreams of the idle gateway.
const IDLE_UPSTREAMS: u16 = 20;

/// What measuring gives: the value, and how it came about.
pub(super) type Measured = Result<(f64, String)>;

/// A row; where measuring failed, one that says so and misses its target.
pub(super) fn figure(
    what: &'static str,
    unit: &'static str,
    limit: Option<f64>,
    measured: Measured,
) -> Figure {
    let (value, detail) = match measured {
        Ok((value, detail)) => (Some(value), detail),
        Err(error) => (None, error.to_string()),
    };
    let verdict = limit.map(|limit| {
        let met = value.is_some_and(|value| value <= limit);
        Verdict::new(format!("≤ {limit} {unit}"), met)
    });
    Figure {
        what,
        value,
        unit,
        detail,
        verdict,
    }
}

/// All figures of the gateway that are not about calls.
pub(crate) async fn of_gateway(binary: &Path, effort: &Effort) -> Result<Vec<Figure>> {
    let upstreams = Upstream::start(IDLE_UPSTREAMS, 0).await?;
    let ports = upstreams.ports();
    let ready = ready_time(binary, ports, effort).await;
    let idle = idle_memory(binary, ports).await;
    let listing = listing_of_gateway(binary, effort).await;
    let streams = streams_of_gateway(binary, upstreams.port(), effort).await;
    upstreams.stop().await;
    Ok(vec![
        figure(
            "gateway: ready after start, 20 HTTP upstreams",
            "ms",
            Some(200.0),
            ready,
        ),
        figure(
            "gateway: idle memory, 20 HTTP upstreams",
            "MB",
            Some(40.0),
            idle,
        ),
        figure(
            "gateway: CPU to list 10,000 tools when warm",
            "ms",
            Some(20.0),
            listing,
        ),
        figure(
            "gateway: memory of an open stream, 2,000 open",
            "KB",
            Some(30.0),
            streams,
        ),
    ])
}

/// The figures that nginx has too, for comparison.
pub(crate) async fn of_nginx(binary: &Path, effort: &Effort) -> Vec<Figure> {
    let listing = listing_of_nginx(binary, effort).await;
    let streams = streams_of_nginx(binary, effort).await;
    vec![
        figure(
            "nginx: CPU to pass on a listing of 10,000 tools",
            "ms",
            None,
            listing,
        ),
        figure(
            "nginx: memory of an open stream, 2,000 open",
            "KB",
            None,
            streams,
        ),
    ]
}

async fn ready_time(binary: &Path, upstreams: &[u16], effort: &Effort) -> Measured {
    let mut times = Vec::new();
    for start in 1..=effort.starts {
        progress(&format!("start {start} of {}", effort.starts));
        let gateway = Gateway::start(binary, upstreams).await?;
        times.push(gateway.ready_after().as_secs_f64() * 1e3);
        gateway.stop().await;
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let value = median(times).unwrap_or(f64::NAN);
    Ok((
        value,
        format!(
            "median of {} starts, slowest {slowest:.0} ms",
            effort.starts
        ),
    ))
}

async fn idle_memory(binary: &Path, upstreams: &[u16]) -> Measured {
    progress("idle memory");
    let mut gateway = Gateway::start(binary, upstreams).await?;
    wait_for_tools(&mut gateway, None, ECHOES * upstreams.len()).await?;
    sleep(Duration::from_secs(2)).await;
    let value = gateway.watched().resident_bytes()? as f64 / 1e6;
    gateway.stop().await;
    Ok((
        value,
        "VmRSS 2 s after all their tools were listed".to_owned(),
    ))
}

async fn listing_of_gateway(binary: &Path, effort: &Effort) -> Measured {
    let upstream = Upstream::start(1, MANY_TOOLS).await?;
    let mut gateway = Gateway::start(binary, upstream.ports()).await?;
    wait_for_tools(&mut gateway, None, MANY_TOOLS + ECHOES).await?;
    let measured = listing(&Address::on(gateway.port()), &gateway.watched(), effort).await;
    gateway.still_there()?;
    gateway.stop().await;
    upstream.stop().await;
    measured
}

/// Here every page is the upstream's work, and nginx only carries it.
async fn listing_of_nginx(binary: &Path, effort: &Effort) -> Measured {
    let upstream = Upstream::start(1, MANY_TOOLS).await?;
    let nginx = Nginx::start(binary, upstream.port(), "1").await?;
    let measured = listing(&Address::on(nginx.port()), &nginx.watched(), effort).await;
    nginx.stop().await;
    upstream.stop().await;
    measured
}

async fn streams_of_gateway(binary: &Path, upstream: u16, effort: &Effort) -> Measured {
    let mut gateway = Gateway::start(binary, &[upstream]).await?;
    wait_for_tools(&mut gateway, None, ECHOES).await?;
    let opened = streams(gateway.port(), &gateway.watched(), effort).await;
    gateway.still_there()?;
    gateway.stop().await;
    Ok((
        opened?,
        "subscriptions/listen, one connection each".to_owned(),
    ))
}

/// Here each stream has a connection to the upstream too: nginx cannot merge them.
async fn streams_of_nginx(binary: &Path, effort: &Effort) -> Measured {
    let upstream = Upstream::start(1, 0).await?;
    let nginx = Nginx::start(binary, upstream.port(), "1").await?;
    let opened = streams(nginx.port(), &nginx.watched(), effort).await;
    nginx.stop().await;
    upstream.stop().await;
    Ok((
        opened?,
        "one connection each, and another to the upstream".to_owned(),
    ))
}

/// Kilobytes (1,000 bytes) by which the process grows with each open stream.
async fn streams(port: u16, process: &Watched, effort: &Effort) -> Result<f64> {
    progress(&format!("{} open streams", effort.streams));
    let to = Address::on(port);
    // Pools and buffers that calls leave behind are not the streams'.
    let warm = Plan {
        to: to.clone(),
        era: Era::Modern,
        wanted: Wanted::Call,
        size: Size::Small,
        form: Form::Json,
        connections: effort.connections,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(500),
    };
    load::drive(&warm, &mut |_| Ok(())).await?;
    sleep(Duration::from_millis(500)).await;
    let before = process.resident_bytes()?;
    let mut open = Vec::with_capacity(effort.streams);
    for number in 0..effort.streams {
        let failed = |what: String| {
            Error::Unusable(format!(
                "opening stream {number} of {}: {what}",
                effort.streams
            ))
        };
        let opening = async {
            let mut connection = Connection::open(port).await?;
            let mut request = message::listen(&to);
            let sign = b"notifications/subscriptions/acknowledged";
            connection
                .exchange_until(request.numbered(number as u64).0, sign)
                .await?;
            Ok::<_, std::io::Error>(connection)
        };
        match tokio::time::timeout(Duration::from_secs(5), opening).await {
            Ok(Ok(connection)) => open.push(connection),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("no acknowledgement within 5 s".to_owned())),
        }
    }
    sleep(Duration::from_secs(1)).await;
    let grown = process.resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / 1e3 / open.len() as f64)
}
