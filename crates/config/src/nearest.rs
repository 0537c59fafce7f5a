//! The nearest known word to an unknown one, for "did you mean".

/// The candidate closest to `word`, if one is close enough to be what was meant.
///
/// Close means: at most a third of the longer word's letters changed, with a swap of two
/// neighbours counted as one change; or one begins with the other.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // The distance is quadratic: a word of kilobytes is nobody's typing mistake.
    if word.is_empty() || word.len() > 128 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(changes, candidate)| {
            let longer = word.chars().count().max(candidate.chars().count());
            let begins = word.len() >= 3
                && (candidate.starts_with(word.as_str()) || word.starts_with(candidate));
            *changes <= (longer / 3).max(1) || begins
        })
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

/// The number of single-letter changes between two words (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let width = right.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut row: Vec<usize> = (0..width).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1; width];
        for (j, b) in right.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b))
                .min(row[j + 1] + 1)
                .min(next[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            next[j + 1] = best;
        }
        before = std::mem::replace(&mut row, next);
    }
    row[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["port", "host", "allowed_hosts", "shutdown"];
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("Port", known), Some("port"));
        assert_eq!(nearest("allowedhosts", known), Some("allowed_hosts"));
        assert_eq!(nearest("allowed", known), Some("allowed_hosts"));
        assert_eq!(nearest("telemetry", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn counts_a_swap_once() {
        assert_eq!(distance("prot", "port"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
