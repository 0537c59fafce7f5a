//! The words of the report, in the languages of `smoke`.

/// A language of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Language {
    /// English
    #[value(name = "en")]
    English,
    /// Brazilian Portuguese
    #[value(name = "pt-BR")]
    Portuguese,
}

/// Every text that the report can hold. `{}` stands for a value.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) connecting: &'static str,
    pub(super) ok: &'static str,
    pub(super) failed: &'static str,
    pub(super) skipped: &'static str,
    pub(super) passed_all: &'static str,
    pub(super) failed_some: &'static str,
    pub(super) tools: &'static str,
    pub(super) resources: &'static str,
    pub(super) prompts: &'static str,
    pub(super) called: &'static str,
    pub(super) tool_error: &'static str,
    pub(super) no_such_tool: &'static str,
    pub(super) no_canary: &'static str,
    pub(super) no_capability: &'static str,
    pub(super) not_connected: &'static str,
    pub(super) not_listed: &'static str,
    pub(super) no_endpoint: &'static str,
    pub(super) status: &'static str,
    pub(super) timeout: &'static str,
}

static ENGLISH: Texts = Texts {
    connecting: "checking the server",
    ok: "ok",
    failed: "FAILED",
    skipped: "skipped",
    passed_all: "The server passed.",
    failed_some: "The server did not pass: {} failed.",
    tools: "{} tools",
    resources: "{} resources",
    prompts: "{} prompts",
    called: "{} answered",
    tool_error: "{} reported an error",
    no_such_tool: "the server has no tool {}",
    no_canary: "no tool named echo and no read-only tool without required arguments; name one with --tool",
    no_capability: "the server does not declare it",
    not_connected: "no connection",
    not_listed: "the tools could not be listed",
    no_endpoint: "the server has no such endpoint (HTTP {})",
    status: "HTTP {}",
    timeout: "no answer within {} s",
};

static PORTUGUESE: Texts = Texts {
    connecting: "verificando o servidor",
    ok: "ok",
    failed: "FALHOU",
    skipped: "ignorado",
    passed_all: "O servidor passou.",
    failed_some: "O servidor não passou; falhas: {}.",
    tools: "ferramentas: {}",
    resources: "recursos: {}",
    prompts: "prompts: {}",
    called: "{} respondeu",
    tool_error: "{} informou um erro",
    no_such_tool: "o servidor não tem a ferramenta {}",
    no_canary: "nenhuma ferramenta chamada echo nem somente leitura sem argumentos obrigatórios; indique uma com --tool",
    no_capability: "o servidor não declara este recurso",
    not_connected: "sem conexão",
    not_listed: "não foi possível listar as ferramentas",
    no_endpoint: "o servidor não tem este endereço (HTTP {})",
    status: "HTTP {}",
    timeout: "sem resposta em {} s",
};

impl Language {
    /// The language that the environment asks for, as POSIX orders the variables.
    pub(super) fn of_environment() -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty());
        Self::of_locale(&set.unwrap_or_default())
    }

    fn of_locale(locale: &str) -> Self {
        if locale.to_ascii_lowercase().starts_with("pt") {
            Self::Portuguese
        } else {
            Self::English
        }
    }

    /// The words.
    pub(super) fn texts(self) -> &'static Texts {
        match self {
            Self::English => &ENGLISH,
            Self::Portuguese => &PORTUGUESE,
        }
    }
}

/// `text` with `value` in its place.
pub(super) fn fill(text: &str, value: impl std::fmt::Display) -> String {
    text.replacen("{}", &value.to_string(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_the_locale() {
        for (locale, language) in [
            ("pt_BR.UTF-8", Language::Portuguese),
            ("pt", Language::Portuguese),
            ("en_US.UTF-8", Language::English),
            ("C", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }
}
