//! What travels: result texts of exact sizes, made alike by the upstream that sends them and the
//! load generator that checks them.

use clap::ValueEnum;
use serde::Serialize;

/// Size of a result's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Size {
    /// 64 bytes.
    #[value(name = "64")]
    #[serde(rename = "64 B")]
    Small,
    /// 4 KiB.
    #[value(name = "4k")]
    #[serde(rename = "4 KiB")]
    Medium,
    /// 256 KiB.
    #[value(name = "256k")]
    #[serde(rename = "256 KiB")]
    Large,
}

/// How a result travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Form {
    /// One JSON object.
    #[serde(rename = "JSON")]
    Json,
    /// A stream of one event.
    #[serde(rename = "SSE")]
    Sse,
}

impl Size {
    /// All sizes, smallest first.
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Bytes of text (UTF-8, before JSON escapes).
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Small => 64,
            Self::Medium => 4 << 10,
            Self::Large => 256 << 10,
        }
    }

    /// As the report writes it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Small => "64 B",
            Self::Medium => "4 KiB",
            Self::Large => "256 KiB",
        }
    }
}

impl Form {
    /// Both forms.
    pub(crate) const ALL: [Self; 2] = [Self::Json, Self::Sse];

    /// As the report writes it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Sse => "SSE",
        }
    }
}

/// The name of the tool that answers with this size in this form.
pub(crate) fn tool_name(size: Size, form: Form) -> &'static str {
    match (form, size) {
        (Form::Json, Size::Small) => "echo_64",
        (Form::Json, Size::Medium) => "echo_4k",
        (Form::Json, Size::Large) => "echo_256k",
        (Form::Sse, Size::Small) => "sse_64",
        (Form::Sse, Size::Medium) => "sse_4k",
        (Form::Sse, Size::Large) => "sse_256k",
    }
}

/// The URI of the resource whose text is of this size.
pub(crate) fn resource_uri(size: Size) -> &'static str {
    match size {
        Size::Small => "bench:///notes/64",
        Size::Medium => "bench:///notes/4k",
        Size::Large => "bench:///notes/256k",
    }
}

/// Lines of a support desk's notes, with what real text has: quotes, line ends, accents, numbers.
/// No person is named.
const LINES: [&str; 6] = [
    "Customer asked whether order \"PED-2026-00417\" left the warehouse; carrier scan pending.\n",
    "Solicitação registrada às 14h32: troca do endereço de entrega, aguardando confirmação.\n",
    "Refund of R$ 182,40 approved under policy 7.3 (defect reported within 30 days).\n",
    "Next step: call back tomorrow between 9:00 and 11:00, channel=phone, priority=2.\n",
    "\tAttachment: invoice_88213.pdf (214 KB), checked C:\\scans\\2026\\05; no action needed.\n",
    "O cliente confirmou que o produto chegou em perfeito estado — atendimento encerrado.\n",
];

/// The text of a result: `size` bytes exactly, the same every time.
pub(crate) fn text(size: Size) -> String {
    let wanted = size.bytes();
    let mut text = String::with_capacity(wanted + 128);
    for (number, line) in LINES.iter().cycle().enumerate() {
        if text.len() >= wanted {
            break;
        }
        text.push('#');
        text.push_str(&number.to_string());
        text.push(' ');
        text.push_str(line);
    }
    let mut end = wanted;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.extend(std::iter::repeat_n('.', wanted - end));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_exact_size() {
        for size in Size::ALL {
            assert_eq!(text(size).len(), size.bytes());
        }
    }

    #[test]
    fn texts_need_escapes_and_hold_more_than_ascii() {
        let text = text(Size::Medium);
        assert!(text.contains('"') && text.contains('\n') && text.contains('\\'));
        assert!(!text.is_ascii());
    }
}
