use url::Url;

/// The endpoint as clients know it.
pub(super) struct Target {
    text: String,
    url: Option<Url>,
}

impl Target {
    pub(super) fn new(resource: &str) -> Self {
        Self {
            text: resource.to_owned(),
            url: plain(resource),
        }
    }

    /// Whether a URL is of the endpoint: without query and fragment, normalised (RFC 9449, 4.3;
    /// RFC 3986, 6.2.2 and 6.2.3).
    pub(super) fn is(&self, htu: &str) -> bool {
        htu == self.text || (self.url.is_some() && self.url == plain(htu))
    }
}

fn plain(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_compared_without_query_and_fragment() {
        let target = Target::new("https://mcp.example.com/mcp");
        for good in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com/mcp?a=b#c",
            "HTTPS://MCP.example.com:443/a/../mcp",
        ] {
            assert!(target.is(good), "{good}");
        }
        for bad in [
            "",
            "/mcp",
            "http://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com:8443/mcp",
            "https://mcp.example.com.evil/mcp",
            "https://a@mcp.example.com/mcp",
            "https://mcp.example.com",
        ] {
            assert!(!target.is(bad), "{bad}");
        }
        assert!(Target::new("https://a.example").is("https://a.example/"));
        assert!(!Target::new("none").is("other"));
    }
}
