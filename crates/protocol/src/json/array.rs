use serde_json::value::RawValue;

use super::{
    depth::TooDeep,
    object::ObjectError,
    scan::{Fault, Scanner},
};

/// The elements of the JSON array in `text`, as text.
pub(crate) fn read_elements(text: &str) -> Result<Vec<&str>, ObjectError> {
    read(text).map_err(|fault| match fault {
        Fault::TooDeep => TooDeep.into(),
        // Costs a second reading, which only a refused message pays for.
        Fault::Syntax => ObjectError::Syntax(
            serde_json::from_str::<Vec<&RawValue>>(text)
                .err()
                .map_or_else(|| "not a JSON array".into(), |error| error.to_string()),
        ),
    })
}

fn read(text: &str) -> Result<Vec<&str>, Fault> {
    let mut scanner = Scanner::new(text);
    scanner.enter(b'[')?;
    let mut elements = Vec::new();
    if !scanner.take(b']') {
        loop {
            elements.push(scanner.value()?);
            if !scanner.take(b',') {
                break;
            }
        }
        if !scanner.take(b']') {
            return Err(Fault::Syntax);
        }
    }
    scanner.end()?;
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_as_they_came() {
        assert_eq!(
            read_elements(" [ 1e5, {\"a\":[ ]} ,\"x\"\n] "),
            Ok(vec!["1e5", "{\"a\":[ ]}", "\"x\""])
        );
        assert_eq!(read_elements("[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for text in ["", "[", "[1", "[1,]", "[1]]", "{}", "1"] {
            assert!(
                matches!(read_elements(text), Err(ObjectError::Syntax(_))),
                "{text:?}"
            );
        }
        assert!(matches!(
            read_elements(&"[".repeat(200)),
            Err(ObjectError::TooDeep(_))
        ));
    }
}
