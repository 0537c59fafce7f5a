use std::time::Duration;

use mcp_ultra_domain::PrincipalKind;

use super::{KeyChange, NewKey};

/// The longest that a replaced secret may stay valid.
pub const LONGEST_OVERLAP: Duration = Duration::from_hours(30 * 24);

const LONGEST_NAME: usize = 100;
const LONGEST_TENANT: usize = 256;
const LONGEST_WORD: usize = 128;
const MOST_WORDS: usize = 100;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// What breaks it.
    pub field: &'static str,
    /// How, and what would be right.
    pub why: String,
}

type Checked = Result<(), Invalid>;

pub(super) fn check_new(new: &NewKey, now: Duration) -> Checked {
    check_text("tenant", &new.tenant, LONGEST_TENANT)?;
    check_text("name", &new.name, LONGEST_NAME)?;
    if new.kind == PrincipalKind::Anonymous {
        return broken("kind", "a key is held by a user, an agent or a workload");
    }
    check_words("roles", &new.roles)?;
    check_words("scopes", &new.scopes)?;
    check_end(new.expires, now)
}

pub(super) fn check_change(change: &KeyChange, now: Duration) -> Checked {
    if let Some(name) = &change.name {
        check_text("name", name, LONGEST_NAME)?;
    }
    check_words("roles", change.roles.as_deref().unwrap_or_default())?;
    check_words("scopes", change.scopes.as_deref().unwrap_or_default())?;
    check_end(change.expires.flatten(), now)
}

pub(super) fn check_overlap(overlap: Duration) -> Checked {
    if overlap > LONGEST_OVERLAP {
        return broken(
            "overlap",
            "a replaced secret may stay valid for 30 days at most",
        );
    }
    Ok(())
}

fn check_text(field: &'static str, text: &str, longest: usize) -> Checked {
    if text.trim().is_empty() || text.trim() != text {
        return broken(field, "it is empty, or has spaces around it");
    }
    if text.len() > longest || text.contains(char::is_control) {
        return broken(
            field,
            format!("it must be at most {longest} bytes without control characters"),
        );
    }
    Ok(())
}

/// Roles and scopes are words (RFC 6749, 3.3), since tokens list them between spaces.
fn check_words(field: &'static str, words: &[String]) -> Checked {
    if words.len() > MOST_WORDS {
        return broken(field, format!("there are more than {MOST_WORDS}"));
    }
    let fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let is_word =
        |word: &String| (1..=LONGEST_WORD).contains(&word.len()) && word.bytes().all(fine);
    if words.iter().all(is_word) {
        Ok(())
    } else {
        broken(
            field,
            format!("each must be one word of at most {LONGEST_WORD} ASCII characters"),
        )
    }
}

fn check_end(expires: Option<Duration>, now: Duration) -> Checked {
    if expires.is_some_and(|end| end <= now) {
        return broken("expires", "it lies in the past");
    }
    Ok(())
}

fn broken(field: &'static str, why: impl Into<String>) -> Checked {
    Err(Invalid {
        field,
        why: why.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_rule_is_named() {
        let now = Duration::from_secs(100);
        let good = NewKey {
            tenant: "acme".into(),
            name: "Relatórios".into(),
            kind: PrincipalKind::Agent,
            roles: vec!["a:b".into()],
            scopes: Vec::new(),
            expires: None,
        };
        assert_eq!(check_new(&good, now), Ok(()));
        let with = |change: fn(&mut NewKey)| {
            let mut new = good.clone();
            change(&mut new);
            check_new(&new, now).unwrap_err().field
        };
        assert_eq!(with(|new| new.tenant.clear()), "tenant");
        assert_eq!(with(|new| new.name = " x".into()), "name");
        assert_eq!(with(|new| new.name = "a\nb".into()), "name");
        assert_eq!(with(|new| new.name = "x".repeat(101)), "name");
        assert_eq!(with(|new| new.kind = PrincipalKind::Anonymous), "kind");
        assert_eq!(with(|new| new.roles.push("a b".into())), "roles");
        assert_eq!(with(|new| new.scopes.push(String::new())), "scopes");
        assert_eq!(with(|new| new.scopes = vec!["x".into(); 101]), "scopes");
        assert_eq!(
            with(|new| new.expires = Some(Duration::from_secs(100))),
            "expires"
        );
        assert!(check_overlap(LONGEST_OVERLAP).is_ok());
        assert!(check_overlap(LONGEST_OVERLAP + Duration::from_secs(1)).is_err());
    }
}
