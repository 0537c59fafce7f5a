use http::{HeaderMap, header};

/// The language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Portuguese,
}

impl Language {
    /// What the reader likes better, by `Accept-Language` (RFC 9110, 12.5.4). Everyone who asks for
    /// neither reads English.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut best = (Self::English, 0.0);
        let values = headers.get_all(header::ACCEPT_LANGUAGE).iter();
        for range in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok())
                .unwrap_or(1.0);
            let language = match tag.split('-').next().unwrap_or_default() {
                tag if tag.eq_ignore_ascii_case("pt") => Self::Portuguese,
                tag if tag.eq_ignore_ascii_case("en") => Self::English,
                _ => continue,
            };
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }

    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Portuguese => "pt-BR",
        }
    }

    pub(super) fn choose<T>(self, english: T, portuguese: T) -> T {
        match self {
            Self::English => english,
            Self::Portuguese => portuguese,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_reader_chooses_the_language() {
        let of = |value: Option<&'static str>| {
            let mut map = HeaderMap::new();
            if let Some(value) = value {
                map.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(value));
            }
            Language::of(&map)
        };
        for text in [
            None,
            Some("en"),
            Some("de, fr;q=0.5"),
            Some("en-GB, pt;q=0.9"),
            Some("pt;q=0"),
        ] {
            assert_eq!(of(text), Language::English, "{text:?}");
        }
        for text in [
            "pt-BR",
            "pt",
            "de, pt-BR;q=0.3",
            "en;q=0.8, pt-PT;q=0.9",
            "PT-br,en;q=0.5",
        ] {
            assert_eq!(of(Some(text)), Language::Portuguese, "{text}");
        }
    }
}
