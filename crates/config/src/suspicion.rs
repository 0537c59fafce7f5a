//! What looks like a secret: by the name it goes under, or by itself. Used where a value is not
//! declared secret but people put keys there anyway: arguments, addresses, imported variables.

/// Words in a name that say that the value is a secret.
const WORDS: [&str; 15] = [
    "token",
    "tokens",
    "secret",
    "password",
    "passwd",
    "pwd",
    "pass",
    "passphrase",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "cookie",
    "pat",
    "apikey",
];

/// How keys of well-known issuers begin.
const BEGINNINGS: [&str; 16] = [
    "sk-",
    "sk_",
    "pk_live",
    "rk_live",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "AIza",
    "eyJ",
];

/// Whether a value under this name is a secret: `GITHUB_TOKEN`, `apiKey`, `X-Api-Key`, `--password`.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    // `key` alone names too much (sort key, key file): only as the last word.
    words.iter().any(|word| WORDS.contains(&word.as_str()))
        || words
            .last()
            .is_some_and(|word| word == "key" || word == "dsn")
}

/// The words of a name in any of the usual spellings, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for letter in name.chars() {
        let starts =
            !letter.is_ascii_alphanumeric() || (letter.is_ascii_uppercase() && before_lower);
        if starts {
            words.push(String::new());
        }
        before_lower = letter.is_ascii_lowercase();
        if letter.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(letter.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value is a secret by its own look: a well-known beginning, an address with a
/// password, or something too random to be a word.
pub(crate) fn is_secret_value(value: &str) -> bool {
    let value = value.trim();
    if value.len() >= 12
        && BEGINNINGS
            .iter()
            .any(|beginning| value.starts_with(beginning))
    {
        return true;
    }
    if let Some((_, rest)) = value.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.contains(':'));
    }
    let all = |test: fn(&u8) -> bool| value.bytes().all(|byte| test(&byte));
    let any = |test: fn(&u8) -> bool| value.bytes().any(|byte| test(&byte));
    let hex = value.len() >= 32 && all(u8::is_ascii_hexdigit);
    let mixed = value.len() >= 20
        && all(|byte| byte.is_ascii_alphanumeric() || b"+_=-".contains(byte))
        && any(u8::is_ascii_uppercase)
        && any(u8::is_ascii_lowercase)
        && any(u8::is_ascii_digit);
    hex || mixed
}

/// Where the secret of an argument begins: after `--token=`, at the start after a lone `--token`,
/// or at the start of something that is a secret by its look. `before` is the argument before it.
pub(crate) fn secret_in_argument(before: Option<&str>, argument: &str) -> Option<usize> {
    if let Some((name, value)) = argument.split_once('=')
        && (is_secret_name(name) || is_secret_value(value))
        && !value.is_empty()
    {
        return Some(name.len() + 1);
    }
    let flagged = before.is_some_and(|before| {
        before.starts_with('-') && !before.contains('=') && is_secret_name(before)
    });
    ((flagged && !argument.starts_with('-')) || is_secret_value(argument)).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_secret_names_from_others() {
        for name in [
            "GITHUB_TOKEN",
            "apiKey",
            "X-Api-Key",
            "--password",
            "Authorization",
            "DB_PASS",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "LOG_LEVEL",
            "KEYBOARD",
            "AUTHOR",
            "key-file",
            "PATH",
            "",
            "max_tokenizer",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn tells_secret_values_from_others() {
        for value in [
            "ghp_0123456789abcdef",
            "postgres://app:hunter2@db.example/x",
            "0123456789abcdef0123456789abcdef",
            "Zm9vYmFyMTIzNDU2Nzg5QQ==",
        ] {
            assert!(is_secret_value(value), "{value}");
        }
        for value in [
            "@modelcontextprotocol/server-filesystem",
            "https://crm.example.com/mcp",
            "/home/user/Documents/Project2024Final",
            "--allow-write",
            "production",
            "sk-",
        ] {
            assert!(!is_secret_value(value), "{value}");
        }
    }

    #[test]
    fn finds_secrets_in_arguments() {
        assert_eq!(secret_in_argument(None, "--token=hunter2"), Some(8));
        assert_eq!(secret_in_argument(Some("--api-key"), "hunter2"), Some(0));
        assert_eq!(secret_in_argument(Some("--api-key"), "--verbose"), None);
        assert_eq!(secret_in_argument(Some("-y"), "server"), None);
    }
}
