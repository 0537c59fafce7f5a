//! Semantic versions (semver.org), as flagd compares them: a leading `v` and missing numbers at the
//! end are allowed, and what was built makes no difference.

use std::cmp::Ordering;

/// A version, in its parts.
struct Version<'t> {
    numbers: [&'t str; 3],
    pre_release: &'t str,
}

/// `one comparison other`; `None` where one of them is no version, or the comparison is none.
pub(super) fn compare(one: &str, comparison: &str, other: &str) -> Option<bool> {
    let (one, other) = (Version::read(one)?, Version::read(other)?);
    let order = one.compare(&other);
    Some(match comparison {
        "=" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "^" => one.numbers[0] == other.numbers[0],
        "~" => one.numbers[..2] == other.numbers[..2],
        _ => return None,
    })
}

impl<'t> Version<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        let (core, pre_release) = match text.split_once('-') {
            Some((core, pre_release)) => (core, Some(pre_release)),
            None => (text, None),
        };
        let mut numbers = ["0"; 3];
        let mut count = 0;
        for number in core.split('.') {
            *numbers.get_mut(count)? = number;
            count += 1;
            if !is_number(number) {
                return None;
            }
        }
        let has_more = build.is_some() || pre_release.is_some();
        if has_more && count < numbers.len() {
            return None;
        }
        let is_word = |word: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !word.is_empty() && word.bytes().all(is_part)
        };
        let is_pre = |word: &str| is_word(word) && (!is_digits(word) || is_number(word));
        let fits = pre_release.is_none_or(|words| words.split('.').all(is_pre))
            && build.is_none_or(|words| words.split('.').all(is_word));
        fits.then_some(Self {
            numbers,
            pre_release: pre_release.unwrap_or_default(),
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.iter().zip(other.numbers);
        let mut numbers = numbers.map(|(one, other)| by_number(one, other));
        let first = numbers.find(|order| order.is_ne());
        first.unwrap_or_else(|| match (self.pre_release, other.pre_release) {
            (one, other) if one == other => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (one, other) => {
                let (mut ones, mut others) = (one.split('.'), other.split('.'));
                loop {
                    match (ones.next(), others.next()) {
                        (None, None) => return Ordering::Equal,
                        (None, Some(_)) => return Ordering::Less,
                        (Some(_), None) => return Ordering::Greater,
                        (Some(one), Some(other)) => {
                            let order = by_word(one, other);
                            if order.is_ne() {
                                return order;
                            }
                        }
                    }
                }
            }
        })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

/// Numbers without leading zeros, however long.
fn by_number(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn by_word(one: &str, other: &str) -> Ordering {
    match (is_digits(one), is_digits(other)) {
        (true, true) => by_number(one, other),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_the_specification() {
        // semver.org, 11.
        let ordered = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.0",
            "1.10.0",
            "2",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(
                    compare(one, "<", other),
                    Some(at < other_at),
                    "{one} {other}"
                );
                assert_eq!(compare(one, ">=", other), Some(at >= other_at));
                assert_eq!(compare(one, "=", other), Some(at == other_at));
            }
        }
    }

    #[test]
    fn they_are_compared_as_flagds_tests_say() {
        for (one, comparison, other, expected) in [
            ("2.0.0.0", "=", "2.0.0", None),
            ("3.0.1", "~", "3.0.0", Some(true)),
            ("3.1.0", "~", "3.0.0", Some(false)),
            ("3.1.0", "^", "3.0.0", Some(true)),
            ("4.0.0", "^", "3.0.0", Some(false)),
            ("V1.0.0", "=", "v1.0.0", Some(true)),
            ("1.0", "^", "1", Some(true)),
            ("1.2", ">", "1.1", Some(true)),
            ("1", ">", "1.1", Some(false)),
            ("1.0.0+other", "=", "1.0.0+build", Some(true)),
            ("1.0+build", "=", "1.0.0", None),
            ("01.0.0", "=", "1.0.0", None),
            ("1.0.0", "==", "1.0.0", None),
            ("", "=", "1.0.0", None),
        ] {
            assert_eq!(
                compare(one, comparison, other),
                expected,
                "{one} {comparison} {other}"
            );
        }
    }
}
