//! Durations on the command line: `10s`, `500ms`, `1m 30s`.

use std::time::Duration;

/// Reads a positive duration; a number alone is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration; write for example 10s, 500ms or 2m");
    let duration = if let Ok(seconds) = text.parse::<f64>() {
        Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?
    } else {
        let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(signed).map_err(|_| wrong())?
    };
    if duration.is_zero() {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_positive() {
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["", "0", "0s", "-1s", "soon", "NaN", "inf"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
