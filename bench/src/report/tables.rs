//! The report for people: the same tables on the terminal and as Markdown.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, TableStyle, presets};

use super::{AccessRow, AloneRow, CallRow, Figure, Report, Verdict};

/// The report as it is printed.
pub(crate) fn terminal(report: &Report) -> String {
    render(report, presets::UTF8_FULL_CONDENSED, "")
}

/// The report as it is kept.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = "# Benchmark\n\nMade by `mcp-ultra-bench run`; what the figures mean is in \
                    the README beside the program.\n\n"
        .to_owned();
    text.push_str(&render(report, presets::ASCII_MARKDOWN, "## "));
    text
}

fn render(report: &Report, style: TableStyle, heading: &str) -> String {
    let mut text = facts(report);
    let mut part = |title: String, table: Option<Table>| {
        if let Some(mut table) = table {
            table.load_style(style);
            // A formatting error of a String does not exist.
            let _ = write!(text, "\n{heading}{title}\n\n{table}\n");
        }
    };
    let connections = report.settings.connections;
    part(
        format!("Under load, {connections} calls in flight"),
        calls(&report.calls),
    );
    part("One call at a time, JSON".to_owned(), alone(&report.alone));
    part(
        format!("Who may call what: 64 B, {connections} calls in flight"),
        access(&report.access),
    );
    part(
        format!("Several gateways: 64 B, {connections} calls in flight"),
        access(&report.shared),
    );
    part(
        format!("Answers that are given again: {connections} calls in flight"),
        access(&report.kept),
    );
    part("Without calls".to_owned(), figures(&report.figures));
    let (met, all) = (
        report.verdicts().filter(|verdict| verdict.met).count(),
        report.verdicts(),
    );
    let _ = write!(
        text,
        "\n{heading}Outcome\n\n{met} of {} targets met; {} errors.\n",
        all.count(),
        report.errors()
    );
    for (place, error) in report.first_errors() {
        let _ = writeln!(text, "\n- First error of {place}: {error}");
    }
    for note in &report.notes {
        let _ = writeln!(text, "\n- {note}");
    }
    text
}

fn facts(report: &Report) -> String {
    let (machine, settings) = (&report.machine, &report.settings);
    let missing = || "none".to_owned();
    format!(
        "{}: {} cores of {}, {:.0} GB, Linux {}, load before {}.\n\
         mcp-ultra-bench {}; {}; gateway: {}.\n\
         {} run: {} rounds in turns, {:.1} s measured each; medians over the rounds.\n",
        machine.time,
        machine.cores,
        machine.cpu,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        machine.load_before,
        machine.bench,
        machine
            .nginx
            .clone()
            .unwrap_or_else(|| "nginx: none".to_owned()),
        machine.gateway.clone().unwrap_or_else(missing),
        if settings.quick { "Quick" } else { "Full" },
        settings.rounds,
        settings.turn_seconds,
    )
}

fn calls(rows: &[CallRow]) -> Option<Table> {
    let mut table = table(
        &[
            "result",
            "route",
            "CPU µs/call",
            "low–high",
            "× nginx",
            "upstream CPU µs",
            "calls/s",
            "p50 ms",
            "p99 ms",
            "RSS MB",
            "errors",
            "target",
            "outcome",
        ],
        2..=10,
    );
    for row in rows {
        let form = match row.answered_in_other_form {
            0 => row.form.label().to_owned(),
            count => format!("{} ({count} came in the other form)", row.form.label()),
        };
        let mut cells = vec![
            format!("{} {form}", row.size.label()),
            row.route.label().to_owned(),
            number(row.cpu_us.map(|cpu| cpu.median), 1),
            row.cpu_us
                .map_or_else(dash, |cpu| format!("{:.1}–{:.1}", cpu.low, cpu.high)),
            number(row.ratio_to_nginx, 2),
            number(row.upstream_cpu_us, 1),
            number(row.requests_per_second, 0),
            number(row.p50_us.map(|us| us / 1e3), 3),
            number(row.p99_us.map(|us| us / 1e3), 3),
            number(row.resident_bytes.map(|bytes| bytes as f64 / 1e6), 1),
            row.errors.to_string(),
        ];
        cells.extend(verdict(row.verdict.as_ref()));
        table.add_row(cells);
    }
    (!rows.is_empty()).then_some(table)
}

fn alone(rows: &[AloneRow]) -> Option<Table> {
    let headers = [
        "result",
        "route",
        "p50 ms",
        "p99 ms",
        "added p50 ms",
        "errors",
        "target",
        "",
    ];
    let mut table = table(&headers, 2..=5);
    for row in rows {
        let mut cells = vec![
            row.size.label().to_owned(),
            row.route.label().to_owned(),
            number(row.p50_us.map(|us| us / 1e3), 3),
            number(row.p99_us.map(|us| us / 1e3), 3),
            number(row.added_p50_us.map(|us| us / 1e3), 3),
            row.errors.to_string(),
        ];
        cells.extend(verdict(row.verdict.as_ref()));
        table.add_row(cells);
    }
    (!rows.is_empty()).then_some(table)
}

fn access(rows: &[AccessRow]) -> Option<Table> {
    let headers = [
        "configured",
        "CPU µs/call",
        "low–high",
        "added CPU µs",
        "calls/s",
        "errors",
        "target",
        "outcome",
    ];
    let mut table = table(&headers, 1..=5);
    for row in rows {
        let mut cells = vec![
            row.what.to_owned(),
            number(row.cpu_us.map(|cpu| cpu.median), 1),
            row.cpu_us
                .map_or_else(dash, |cpu| format!("{:.1}–{:.1}", cpu.low, cpu.high)),
            number(row.added_us, 1),
            number(row.requests_per_second, 0),
            row.errors.to_string(),
        ];
        cells.extend(verdict(row.verdict.as_ref()));
        table.add_row(cells);
    }
    (!rows.is_empty()).then_some(table)
}

fn figures(rows: &[Figure]) -> Option<Table> {
    let mut table = table(
        &["what", "value", "unit", "how", "target", "outcome"],
        1..=1,
    );
    for row in rows {
        let mut cells = vec![
            row.what.to_owned(),
            row.value
                .map_or_else(|| "not measured".to_owned(), |value| format!("{value:.1}")),
            row.unit.to_owned(),
            row.detail.clone(),
        ];
        cells.extend(verdict(row.verdict.as_ref()));
        table.add_row(cells);
    }
    (!rows.is_empty()).then_some(table)
}

/// A table whose columns of this range are figures.
fn table(headers: &[&str], figures: std::ops::RangeInclusive<usize>) -> Table {
    let mut table = Table::new();
    table.set_header(headers.iter().map(Cell::new));
    for (index, column) in table.column_iter_mut().enumerate() {
        if figures.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn verdict(verdict: Option<&Verdict>) -> [String; 2] {
    verdict.map_or_else(
        || [String::new(), String::new()],
        |verdict| {
            let word = if verdict.met { "met" } else { "MISSED" };
            [verdict.target.clone(), word.to_owned()]
        },
    )
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(dash, |value| format!("{value:.decimals$}"))
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        payload::{Form, Size},
        report::{Route, Settings, Spread, machine},
    };

    fn report() -> Report {
        let call = |route, ratio, verdict| CallRow {
            route,
            size: Size::Small,
            form: Form::Json,
            cpu_us: Spread::of(vec![40.0, 42.5, 50.0]),
            ratio_to_nginx: ratio,
            upstream_cpu_us: Some(9.0),
            requests_per_second: Some(20_000.0),
            p50_us: Some(900.0),
            p99_us: None,
            resident_bytes: Some(20_000_000),
            errors: 3,
            first_error: Some("status 503".to_owned()),
            answered_in_other_form: 0,
            verdict,
        };
        let missed = Verdict::new("CPU ≤ 2.0 × nginx".to_owned(), false);
        Report {
            machine: machine::facts(None, std::path::Path::new("no-such-nginx")).unwrap(),
            settings: Settings {
                quick: true,
                rounds: 3,
                connections: 32,
                turn_seconds: 0.6,
            },
            calls: vec![
                call(Route::Nginx, Some(1.0), None),
                call(Route::GatewayModern, Some(2.1), Some(missed)),
            ],
            alone: vec![],
            access: vec![AccessRow {
                what: "limits",
                cpu_us: Spread::of(vec![44.0]),
                added_us: Some(1.25),
                requests_per_second: None,
                errors: 0,
                first_error: None,
                verdict: None,
            }],
            shared: vec![],
            kept: vec![],
            figures: vec![Figure {
                what: "gateway: idle memory",
                value: None,
                unit: "MB",
                detail: "it ended".to_owned(),
                verdict: Some(Verdict::new("≤ 40 MB".to_owned(), false)),
            }],
            notes: vec!["No nginx rows.".to_owned()],
        }
    }

    #[test]
    fn what_was_missed_or_failed_is_said() {
        let report = report();
        // Two rows with three failed calls, and a figure that could not be measured.
        assert_eq!(report.errors(), 7);
        for text in [terminal(&report), markdown(&report)] {
            assert!(text.contains("42.5") && text.contains("40.0–50.0") && text.contains("2.10"));
            assert!(text.contains("limits") && text.contains("44.0–44.0"));
            assert!(text.contains("0 of 2 targets met; 7 errors."));
            assert_eq!(text.matches("MISSED").count(), 2);
            assert!(text.contains("not measured") && text.contains("it ended"));
            assert!(text.contains("First error of gateway, modern, 64 B JSON: status 503"));
            assert!(text.contains("No nginx rows."));
        }
    }

    #[test]
    fn both_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("results");
        crate::report::write(&report(), &out).unwrap();
        let json = std::fs::read_to_string(out.join("latest.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["calls"][1]["route"], "gateway_modern");
        assert_eq!(json["calls"][1]["verdict"]["met"], false);
        assert!(
            std::fs::read_to_string(out.join("latest.md"))
                .unwrap()
                .starts_with("# ")
        );
    }
}
