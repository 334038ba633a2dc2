//! A line to words, with quotes as a shell has them.

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of a line, at most.
const MAX_LINE_BYTES: usize = 4096;

/// Splits a line at blanks. `'...'` keeps everything, `"..."` all but `\"` and `\\`, and `\` the next character.
///
/// # Errors
/// What is wrong: a quote that does not end, or too long a line.
pub fn split(line: &str) -> Result<Vec<String>, &'static str> {
    if line.len() > MAX_LINE_BYTES {
        return Err("the line is too long");
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(inside) => word.push(inside),
                        None => return Err("a quote ' has no end"),
                    }
                }
            }
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => word
                .get_or_insert_default()
                .push(rest.next().ok_or("nothing follows the \\")?),
            _ => word.get_or_insert_default().push(next),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(rest: &mut core::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    loop {
        match rest.next() {
            Some('"') => return Ok(()),
            Some('\\') => match rest.next() {
                Some(escaped @ ('"' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => return Err("a quote \" has no end"),
            },
            Some(inside) => word.push(inside),
            None => return Err("a quote \" has no end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(
            split("create  web.cfg 'memory=512' ").unwrap(),
            ["create", "web.cfg", "memory=512"]
        );
        assert_eq!(split(r#"a"b c"'d e'\ f "" \'"#).unwrap(), ["ab cd e f", "", "'"]);
        assert_eq!(split(r#""\"\\\n""#).unwrap(), [r#""\\n"#]);
        assert!(split("").unwrap().is_empty());
        assert!(
            split("'a").is_err() && split("\"a").is_err() && split("a\\").is_err() && split(&"x".repeat(5000)).is_err()
        );
    }
}
